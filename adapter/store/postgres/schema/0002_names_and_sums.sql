-- Each replica counts for itself and takes an equal part of the rate limit, so the database keeps no account of either.
DROP TABLE tally;
DROP TABLE pace;
CREATE INDEX alarm_open ON alarm (integration) WHERE status = 'firing';

-- The names that SQLite's schema has too.
ALTER TABLE alarm RENAME COLUMN heard TO last_accepted_at;
ALTER TABLE alarm RENAME COLUMN doubt_episode TO maybe_sent_episode;
ALTER TABLE report RENAME COLUMN log TO attempt_log;
ALTER TABLE report RENAME COLUMN made TO provenance;
ALTER TABLE report RENAME COLUMN made_body TO provenance_body;

-- PostgreSQL's own checksums (initdb --data-checksums) watch over the pages.
ALTER TABLE report DROP COLUMN crc;
