-- Hours are kept in parts at the minutes of a day at which days begin in zones that are not whole hours from UTC. What was folded
-- before is whole: a cut holds from the first hour on that nothing was folded into.
CREATE TABLE hour_cuts (
    minute INTEGER PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;
WITH minutes (minute) AS (VALUES (150), (210), (570), (615), (675), (810), (870), (915), (1050), (1095), (1110), (1170), (1230))
INSERT INTO hour_cuts SELECT minute, (SELECT coalesce(max(bucket) + 3600, 0) FROM rollups_hour) FROM minutes;
