-- Which Alertmanager spoke of an alarm, by which receiver, and when reconciling closed it. Empty until the next webhook.
ALTER TABLE alarm ADD COLUMN origin bytea NOT NULL DEFAULT '';
ALTER TABLE alarm ADD COLUMN receiver bytea NOT NULL DEFAULT '';
ALTER TABLE alarm ADD COLUMN reconciled bigint NOT NULL DEFAULT 0;
DROP INDEX alarm_open;
CREATE INDEX alarm_open ON alarm (integration, id) WHERE status = 'firing'; -- reconciling reads them page by page
CREATE INDEX alarm_reconciled ON alarm (integration, id) WHERE status = 'resolved' AND reconciled > 0;

-- What one replica does for all of them.
CREATE TABLE leader (
    task    text        PRIMARY KEY,
    replica text        NOT NULL,
    until   timestamptz NOT NULL
);
