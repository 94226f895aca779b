-- Rules about what keys may use. They go with whatever they stand at.
CREATE TABLE rules (
    id TEXT PRIMARY KEY,
    organization TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    user TEXT,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    key TEXT REFERENCES keys (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    status TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    FOREIGN KEY (organization, user) REFERENCES members (organization, user) ON DELETE CASCADE,
    CHECK ((organization IS NOT NULL) + (project IS NOT NULL) + (key IS NOT NULL) = 1),
    CHECK (user IS NULL OR organization IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX rules_organization ON rules (organization, user, created_at, id) WHERE organization IS NOT NULL;
CREATE INDEX rules_project ON rules (project, created_at, id) WHERE project IS NOT NULL;
CREATE INDEX rules_key ON rules (key, created_at, id) WHERE key IS NOT NULL;
