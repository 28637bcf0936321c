-- The integrations whose COC does not answer this replica.
ALTER TABLE replica ADD COLUMN unanswered text[] NOT NULL DEFAULT '{}';
