-- A claim is kept in memory, so that only the end of a process can tell that none was left: what waited at an end without
-- a word may have been sent. How a store of the schema before ended is not known.
ALTER TABLE counter ADD COLUMN doubtful INTEGER NOT NULL DEFAULT 0; -- the last seq that waited at such an end
ALTER TABLE counter ADD COLUMN serving INTEGER NOT NULL DEFAULT 0; -- 1 from the first claim to an orderly end
UPDATE counter SET serving = seq > 0;
