-- Each replica takes an equal part of the rate limit, so the database keeps no account of it.
DROP TABLE pace;
