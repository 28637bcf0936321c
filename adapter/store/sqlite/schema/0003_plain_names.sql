-- The names that PostgreSQL's schema has too, so that one set of functions reads both. report.made_crc is no longer used.
ALTER TABLE alarm RENAME COLUMN heard TO last_accepted_at;
ALTER TABLE alarm RENAME COLUMN earlier TO earlier_outcome;
ALTER TABLE alarm RENAME COLUMN doubt_episode TO maybe_sent_episode;
ALTER TABLE report RENAME COLUMN fate TO handled;
ALTER TABLE report RENAME COLUMN log TO attempt_log;
ALTER TABLE report RENAME COLUMN made TO provenance;
ALTER TABLE report RENAME COLUMN made_body TO provenance_body;
ALTER TABLE intake RENAME TO webhook;
DROP INDEX intake_received;
CREATE INDEX webhook_received ON webhook (received);

ALTER TABLE counter RENAME COLUMN doubtful TO maybe_sent_upto; -- the last report that may have been sent before a crash
ALTER TABLE counter RENAME COLUMN serving TO claiming;         -- 1 from the first claim to an orderly end

-- `integration` held sums and pauses.
CREATE TEMP TABLE before AS SELECT * FROM integration;
DROP TABLE integration;
CREATE TABLE sums (
    integration TEXT PRIMARY KEY,
    pending INTEGER NOT NULL DEFAULT 0,
    open_alarms INTEGER NOT NULL DEFAULT 0,
    dead INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE pause (
    integration TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL,
    asked_by TEXT NOT NULL,
    detail TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO sums SELECT name, pending, open_alarms, dead FROM before;
INSERT INTO pause SELECT name, pause_reason, pause_since, pause_by, pause_detail FROM before
    WHERE pause_reason IS NOT NULL;
DROP TABLE before;
