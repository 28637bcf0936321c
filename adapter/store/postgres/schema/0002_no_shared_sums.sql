-- Each replica counts for itself and takes an equal part of the rate limit, so the database keeps no account of either.
DROP TABLE tally;
DROP TABLE pace;
CREATE INDEX alarm_open ON alarm (integration) WHERE status = 'firing';
