-- What lists of alarms are ordered and filtered by. Which alarms fell back is known from their next report on.
ALTER TABLE alarm ADD COLUMN changed bigint NOT NULL DEFAULT 0;          -- when news about it last came
ALTER TABLE alarm ADD COLUMN accepted_episode bigint NOT NULL DEFAULT 0; -- of what COC accepted last; 0: of none
ALTER TABLE alarm ADD COLUMN fell_back boolean NOT NULL DEFAULT false;   -- a field of what was rendered last did
UPDATE alarm SET changed = last_seen, accepted_episode = CASE
    WHEN accepted_status IS NULL THEN 0
    WHEN earlier_outcome IN ('delivered', 'unneeded') THEN earlier_episode
    ELSE coalesce((SELECT max(r.episode) FROM report r WHERE r.alarm = alarm.id AND r.outcome = 'delivered'), 0) END;
CREATE INDEX alarm_changed ON alarm (changed, id);
-- What is not as it is with most alarms: what somebody may look for. The text of the condition is records.NOTABLE.
CREATE INDEX alarm_notable ON alarm (changed, id) WHERE pending > 0 OR fell_back OR accepted_status IS NULL
    OR accepted_episode <> episode OR (accepted_status = 'alarm') <> (status = 'firing');
