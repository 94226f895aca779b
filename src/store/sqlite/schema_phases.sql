-- Where the time of a request went, as a list of microseconds in JSON; null in rows from before and of requests that were not
-- sampled.
ALTER TABLE requests ADD COLUMN phases TEXT;
