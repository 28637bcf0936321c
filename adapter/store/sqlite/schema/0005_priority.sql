-- News is claimed before refreshes, and only news counts against the bound of the backlog.
ALTER TABLE alarm ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;  -- of what is pending: 0 news, 1 nothing but a refresh
ALTER TABLE alarm ADD COLUMN conflicts INTEGER NOT NULL DEFAULT 0; -- alerts that came with other labels than the one before
ALTER TABLE sums ADD COLUMN refreshing INTEGER NOT NULL DEFAULT 0; -- alarms of which nothing but a refresh is pending
UPDATE alarm SET priority = 1 WHERE head IS NOT NULL AND pending = 1
    AND (SELECT kind FROM report WHERE seq = head) = 'refresh';
UPDATE sums SET refreshing = (SELECT count(*) FROM alarm WHERE alarm.integration = sums.integration AND priority = 1);
DROP INDEX alarm_due;
CREATE INDEX alarm_due ON alarm (integration, priority, due_at) WHERE head IS NOT NULL;
