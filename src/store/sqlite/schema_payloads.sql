-- What requests and answers said, for projects that keep it. Each project has a key of its own, sealed under the master key:
-- without it nothing of the project's payloads can be read again.
CREATE TABLE payload_keys (
    project TEXT PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE payloads (
    id INTEGER PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    member TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE INDEX payloads_request ON payloads (project, request_id, id);
CREATE INDEX payloads_at ON payloads (project, at);
