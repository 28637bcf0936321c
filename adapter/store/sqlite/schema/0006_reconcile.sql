-- Which Alertmanager spoke of an alarm, by which receiver, and when reconciling closed it. Empty until the next webhook.
ALTER TABLE alarm ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE alarm ADD COLUMN receiver TEXT NOT NULL DEFAULT '';
ALTER TABLE alarm ADD COLUMN reconciled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX alarm_open ON alarm (integration) WHERE status = 'firing';
CREATE INDEX alarm_reconciled ON alarm (integration) WHERE status = 'resolved' AND reconciled > 0;
