-- Limits of organizations, projects, members and keys. They go with whatever they stand at; what was spent stays in `accounts`.
-- `owner` is the name of the counter's owner: a limit is the only one of its kind, window and algorithm there.
CREATE TABLE limits (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    organization TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user TEXT,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    "key" TEXT REFERENCES keys (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount >= 0),
    "window" TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    mode TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    FOREIGN KEY (organization, user) REFERENCES members (organization, user) ON DELETE CASCADE,
    UNIQUE (owner, kind, "window", algorithm),
    CHECK ((user IS NOT NULL) + (project IS NOT NULL) + ("key" IS NOT NULL) <= 1)
) STRICT, WITHOUT ROWID;
CREATE INDEX limits_organization ON limits (organization, user, created_at, id);
CREATE INDEX limits_project ON limits (project) WHERE project IS NOT NULL;
CREATE INDEX limits_key ON limits ("key") WHERE "key" IS NOT NULL;
