-- The attempts of a request as a list in JSON. Null where the row tells the one attempt, which succeeded; an empty list in
-- rows from before this column, of which nothing is known.
ALTER TABLE requests ADD COLUMN tried TEXT DEFAULT '[]';
