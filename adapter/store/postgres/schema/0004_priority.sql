-- News is claimed before refreshes, and only news counts against the bound of the backlog.
ALTER TABLE alarm ADD COLUMN priority smallint NOT NULL DEFAULT 0; -- of what is pending: 0 news, 1 nothing but a refresh
ALTER TABLE alarm ADD COLUMN conflicts bigint NOT NULL DEFAULT 0;  -- alerts that came with other labels than the one before
UPDATE alarm SET priority = 1 WHERE due IS NOT NULL AND pending = 1
    AND (SELECT kind FROM report WHERE report.alarm = alarm.id AND outcome IS NULL ORDER BY seq LIMIT 1) = 'refresh';
DROP INDEX alarm_due;
CREATE INDEX alarm_due ON alarm (integration, priority, due, id) WHERE due IS NOT NULL;
CREATE INDEX alarm_refreshing ON alarm (integration) WHERE priority = 1 AND due IS NOT NULL; -- to count them

-- When a mapping revision was first seen, since the newest that a replica serves decides what an update is owed for.
CREATE TABLE revision (
    name       text        PRIMARY KEY,
    first_seen timestamptz NOT NULL
);
