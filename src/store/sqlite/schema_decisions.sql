-- How a request was decided on, and what else only its row tells. Rows from before have none of it: 0 stands for steps that
-- nobody noted, an empty text for a reason that nobody looked up.
ALTER TABLE requests ADD COLUMN finish TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN decided INTEGER NOT NULL DEFAULT 0;
ALTER TABLE requests ADD COLUMN first_byte_us INTEGER;
ALTER TABLE requests ADD COLUMN requested_model TEXT;
ALTER TABLE requests ADD COLUMN user_agent TEXT;
-- What refused it: scope, what, ids of rules, and what the client was told, as a list in JSON.
ALTER TABLE requests ADD COLUMN refused_by TEXT;
-- The cost in parts, as a list of nano-USD in JSON; null where the whole is 0 or unknown.
ALTER TABLE requests ADD COLUMN costs TEXT;
