-- A time as bigint is a wall time given in (microseconds since the epoch); timestamptz is this server's clock, which
-- decides every delay. What came from an alert is bytea: text refuses NUL, and a poisoned webhook would come for ever.

CREATE TABLE alarm (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration     text    NOT NULL,
    key             bytea   NOT NULL,   -- the fingerprint, or its digest where it is too long for an index
    fingerprint     bytea   NOT NULL,
    status          text    NOT NULL,
    episode         bigint  NOT NULL,
    coc_alarm_id    text    NOT NULL,
    starts          bigint  NOT NULL,
    ends            bigint  NOT NULL,
    content         bytea   NOT NULL,
    revision        text    NOT NULL,
    heard           bigint  NOT NULL DEFAULT 0,
    pending         bigint  NOT NULL,
    labels          bytea   NOT NULL,
    first_seen      bigint  NOT NULL,
    last_seen       bigint  NOT NULL,
    repeats         bigint  NOT NULL DEFAULT 0,
    stale           bigint  NOT NULL DEFAULT 0,
    accepted_body   bytea,
    accepted_status text,
    accepted_at     bigint,
    earlier_episode bigint  NOT NULL DEFAULT 0,   -- of the last settled report, and how it ended
    earlier_outcome text,
    doubt_episode   bigint  NOT NULL DEFAULT 0,   -- the last one with an attempt that COC may have taken
    due             timestamptz,        -- of the first pending report; the end of the lease while one lasts
    lease_token     bigint  NOT NULL DEFAULT 0,
    lease_until     timestamptz,        -- NULL: nobody holds it
    lease_owner     text,
    UNIQUE (integration, key),
    CHECK ((pending > 0) = (due IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX alarm_due ON alarm (integration, due, id) WHERE due IS NOT NULL;
CREATE INDEX alarm_resolved ON alarm (last_seen) WHERE status = 'resolved' AND due IS NULL;

CREATE TABLE report (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration  text    NOT NULL,
    alarm        bigint  NOT NULL REFERENCES alarm (id),
    episode      bigint  NOT NULL,
    kind         text    NOT NULL,
    coc_alarm_id text    NOT NULL,
    raw          bytea   NOT NULL,
    crc          bigint  NOT NULL,
    received     bigint  NOT NULL,
    webhook      bigint  NOT NULL,
    attempts     bigint  NOT NULL DEFAULT 0,
    refused      boolean NOT NULL DEFAULT false,
    body         bytea,                 -- to be sent exactly so
    outcome      text,                  -- NULL while pending
    handled      text,                  -- of a dead letter: replayed or discarded
    done         bigint  NOT NULL DEFAULT 0,
    log          text,
    made         text,
    made_body    bytea
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX report_pending ON report (alarm, seq) WHERE outcome IS NULL;
CREATE INDEX report_queue ON report (integration, seq) WHERE outcome IS NULL;
CREATE INDEX report_trail ON report (alarm, seq);
CREATE INDEX report_dead ON report (seq) WHERE outcome = 'dead' AND handled IS NULL;
CREATE INDEX report_done ON report (done) WHERE outcome IS NOT NULL;

CREATE TABLE webhook (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration  text   NOT NULL,
    received     bigint NOT NULL,
    receiver     bytea  NOT NULL,
    group_key    bytea  NOT NULL,
    external_url bytea  NOT NULL,
    alerts       bigint NOT NULL,
    owed         bigint NOT NULL,
    truncated    bigint NOT NULL,
    size         bigint NOT NULL
);
CREATE INDEX webhook_received ON webhook (received);

CREATE TABLE reject (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration text   NOT NULL,
    received    bigint NOT NULL,
    reason      bytea  NOT NULL,
    head        bytea  NOT NULL
);
CREATE INDEX reject_received ON reject (received);

-- What is pending and firing, as sums: each transaction adds to one of many rows, so that none is waited for.
CREATE TABLE tally (
    integration text   NOT NULL,
    shard       int    NOT NULL,
    pending     bigint NOT NULL,
    firing      bigint NOT NULL,
    PRIMARY KEY (integration, shard)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE pause (
    integration text   PRIMARY KEY,
    reason      text   NOT NULL,
    since       bigint NOT NULL,
    asked_by    text   NOT NULL,
    detail      text   NOT NULL
);

-- When the next report may be sent, by the rate limit that all replicas share.
CREATE TABLE pace (
    integration text        PRIMARY KEY,
    spent_until timestamptz NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE replica (
    name     text        PRIMARY KEY,
    revision text        NOT NULL,
    started  timestamptz NOT NULL,
    seen     timestamptz NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
