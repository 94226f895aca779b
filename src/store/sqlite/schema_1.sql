-- Times are milliseconds since 1970, digests SHA-256, words those of the records. A folded column is the text in lower case
-- as Rust makes it, because SQLite folds ASCII only.

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    project_limit INTEGER NOT NULL,
    active_key_limit INTEGER,
    default_retention_days INTEGER NOT NULL,
    log_payloads INTEGER NOT NULL,
    require_second_approver INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX organizations_page ON organizations (created_at, id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    instance_admin INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    organization TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    grants TEXT NOT NULL,
    active_key_limit INTEGER,
    last_seen_at INTEGER,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (organization, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_page ON members (organization, created_at, user);
CREATE INDEX members_user ON members (user);

CREATE TABLE invitations (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    grants TEXT NOT NULL,
    token_digest BLOB NOT NULL UNIQUE,
    status TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX invitations_page ON invitations (organization, created_at, id);

CREATE TABLE admin_tokens (
    id TEXT PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    last4 TEXT NOT NULL,
    description TEXT NOT NULL,
    organization TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    instance_admin INTEGER NOT NULL,
    role TEXT NOT NULL,
    grants TEXT NOT NULL,
    created_by TEXT,
    expires_at INTEGER,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX admin_tokens_page ON admin_tokens (created_at, id);
CREATE INDEX admin_tokens_organization ON admin_tokens (organization, created_at, id);

CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user);

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    slug TEXT NOT NULL,
    ever_served INTEGER NOT NULL,
    description TEXT NOT NULL,
    environment TEXT NOT NULL,
    tags TEXT NOT NULL,
    mode TEXT NOT NULL,
    caching_enabled INTEGER,
    cache_duration_seconds INTEGER NOT NULL,
    require_second_approver INTEGER,
    retention_days INTEGER,
    log_payloads INTEGER,
    lifecycle TEXT NOT NULL,
    served_version INTEGER,
    open_version INTEGER,
    last_version INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- Name, slug and description, folded: what a search looks through.
    searched TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX projects_name ON projects (organization, name_folded);
CREATE UNIQUE INDEX projects_slug ON projects (organization, slug);
CREATE INDEX projects_page ON projects (organization, created_at, id);

CREATE TABLE versions (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    state TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    author TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    comment TEXT NOT NULL,
    problems TEXT NOT NULL,
    approver TEXT,
    approved_at INTEGER,
    approve_comment TEXT NOT NULL,
    copied_from INTEGER,
    replaces INTEGER,
    served_at INTEGER,
    PRIMARY KEY (project, number)
) STRICT, WITHOUT ROWID;
-- The columns differ so that the message of a refused row tells which of the two it was.
CREATE UNIQUE INDEX versions_served ON versions (project, state) WHERE state = 'SERVED';
CREATE UNIQUE INDEX versions_open ON versions (project) WHERE state IN ('DRAFT', 'READY_TO_SERVE');

CREATE TABLE version_texts (
    project TEXT NOT NULL,
    number INTEGER NOT NULL,
    text BLOB NOT NULL,
    PRIMARY KEY (project, number),
    FOREIGN KEY (project, number) REFERENCES versions (project, number) ON DELETE CASCADE
) STRICT;

CREATE TABLE activations (
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    version INTEGER,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    comment TEXT NOT NULL,
    PRIMARY KEY (project, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    public_id TEXT NOT NULL UNIQUE,
    last4 TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    old_digest BLOB UNIQUE,
    old_expires_at INTEGER,
    description TEXT NOT NULL,
    status TEXT NOT NULL,
    expires_at INTEGER,
    "group" TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_page ON keys (project, created_at, id);

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    organization TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    bound_origins TEXT NOT NULL,
    shared_with TEXT,
    sealed BLOB,
    sealed_version INTEGER,
    sealed_last4 TEXT,
    sealed_fingerprint TEXT,
    sealed_at INTEGER,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK ((organization IS NULL) <> (project IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX secrets_organization ON secrets (organization, name) WHERE organization IS NOT NULL;
CREATE UNIQUE INDEX secrets_project ON secrets (project, name) WHERE project IS NOT NULL;

CREATE TABLE provider_keys (
    id TEXT PRIMARY KEY,
    organization TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    provider TEXT NOT NULL,
    label TEXT NOT NULL,
    base_url TEXT,
    sort_order INTEGER NOT NULL,
    status TEXT NOT NULL,
    sealed BLOB,
    sealed_version INTEGER,
    sealed_last4 TEXT,
    sealed_fingerprint TEXT,
    sealed_at INTEGER,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK ((organization IS NULL) <> (project IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX provider_keys_organization ON provider_keys (organization, sort_order) WHERE organization IS NOT NULL;
CREATE INDEX provider_keys_project ON provider_keys (project, sort_order) WHERE project IS NOT NULL;

-- No foreign keys: events outlive what they tell about.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    organization TEXT,
    project TEXT,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    request_id TEXT NOT NULL,
    comment TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX audit_organization ON audit (organization, sequence);
CREATE INDEX audit_project ON audit (project, sequence);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'an audit event never changes');
END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'an audit event is never deleted');
END;
CREATE TRIGGER audit_no_gap BEFORE INSERT ON audit
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM audit)
BEGIN
    SELECT RAISE(ABORT, 'an audit event stands right behind the last one');
END;

CREATE TABLE kept_answers (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    status INTEGER NOT NULL,
    sealed_body BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT;
CREATE INDEX kept_answers_at ON kept_answers (at);

CREATE TABLE notes (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
