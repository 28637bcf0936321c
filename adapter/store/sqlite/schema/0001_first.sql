-- Times are integer microseconds UTC, except due_at, which is on the store's own steady clock.
-- Names and texts of alerts are TEXT, whatever came as bytes and must stay so is BLOB.

-- Ids are given out from here, so that none is used again after pruning.
CREATE TABLE counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    alarm INTEGER NOT NULL,
    webhook INTEGER NOT NULL,
    reject INTEGER NOT NULL,
    probe INTEGER NOT NULL
);
INSERT INTO counter VALUES (1, 0, 0, 0, 0, 0);

-- The name stands in every row that belongs to it rather than a number: a damaged page here then loses no report.
CREATE TABLE integration (
    name TEXT PRIMARY KEY,
    pending INTEGER NOT NULL DEFAULT 0,
    open_alarms INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0,
    pause_reason TEXT,
    pause_since INTEGER,
    pause_by TEXT,
    pause_detail TEXT
) WITHOUT ROWID;

CREATE TABLE alarm (
    id INTEGER PRIMARY KEY,
    integration TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status TEXT NOT NULL,
    episode INTEGER NOT NULL,
    coc_alarm_id TEXT NOT NULL,
    starts INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    content BLOB NOT NULL,
    revision TEXT NOT NULL,
    heard INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL,
    head INTEGER,                                -- seq of the report to deliver next
    due_at INTEGER NOT NULL,                     -- of the head
    labels TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0,
    stale INTEGER NOT NULL DEFAULT 0,
    accepted_body BLOB,
    accepted_status TEXT,
    accepted_at INTEGER,
    accepted_crc INTEGER,                        -- CRC-32 of accepted_body
    earlier TEXT,                                -- outcome of the last settled report ...
    earlier_episode INTEGER NOT NULL DEFAULT 0,  -- ... and its episode
    doubt_episode INTEGER NOT NULL DEFAULT 0     -- the last one with an ambiguous attempt
);
CREATE UNIQUE INDEX alarm_identity ON alarm (integration, fingerprint);
CREATE INDEX alarm_due ON alarm (integration, due_at) WHERE head IS NOT NULL;
CREATE INDEX alarm_resolved ON alarm (last_seen) WHERE status = 'resolved' AND head IS NULL;

CREATE TABLE report (
    seq INTEGER PRIMARY KEY,
    integration TEXT NOT NULL,
    alarm INTEGER NOT NULL,
    episode INTEGER NOT NULL,
    kind TEXT NOT NULL,
    coc_alarm_id TEXT NOT NULL,
    received INTEGER NOT NULL,
    webhook INTEGER NOT NULL,
    crc INTEGER NOT NULL,                        -- CRC-32 of raw, then body
    attempts INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,                                -- NULL while pending
    fate TEXT,                                   -- of a dead letter: replayed or discarded
    done INTEGER,
    log TEXT,                                    -- the last ten attempts, JSON
    made TEXT,
    made_body BLOB,
    made_crc INTEGER,                            -- CRC-32 of log, made, made_body
    body BLOB,
    raw BLOB NOT NULL
);
CREATE INDEX report_alarm ON report (alarm);
CREATE INDEX report_pending ON report (integration) WHERE outcome IS NULL;
CREATE INDEX report_done ON report (done) WHERE outcome IS NOT NULL AND outcome <> 'dead';
CREATE INDEX report_dead ON report (done) WHERE outcome = 'dead';
CREATE INDEX report_letter ON report (seq) WHERE outcome = 'dead' AND fate IS NULL;

CREATE TABLE intake (
    id INTEGER PRIMARY KEY,
    integration TEXT NOT NULL,
    received INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    group_key TEXT NOT NULL,
    external_url TEXT NOT NULL,
    alerts INTEGER NOT NULL,
    owed INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX intake_received ON intake (received);

CREATE TABLE reject (
    id INTEGER PRIMARY KEY,
    integration TEXT NOT NULL,
    received INTEGER NOT NULL,
    reason TEXT NOT NULL,
    head BLOB NOT NULL
);
