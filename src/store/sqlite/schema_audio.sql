-- Milliseconds of audio that transcriptions heard. Rows from before heard none.
ALTER TABLE requests ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups_minute ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups_hour ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollups_day ADD COLUMN audio_ms INTEGER NOT NULL DEFAULT 0;
