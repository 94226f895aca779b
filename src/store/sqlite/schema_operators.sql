-- Second factors of operators. A row without `confirmed_at` is offered and not in force yet.
CREATE TABLE second_factors (
    user TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    confirmed_at INTEGER,
    last_step INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When secrets and provider keys were last sent to a provider. Apart from their rows: a use is no change of them.
CREATE TABLE credential_uses (
    id TEXT PRIMARY KEY,
    last_used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER credential_uses_of_secret AFTER DELETE ON secrets
BEGIN
    DELETE FROM credential_uses WHERE id = OLD.id;
END;
CREATE TRIGGER credential_uses_of_provider_key AFTER DELETE ON provider_keys
BEGIN
    DELETE FROM credential_uses WHERE id = OLD.id;
END;

-- Where connections may go besides what the settings allow.
CREATE TABLE egress_rules (
    id TEXT PRIMARY KEY,
    network TEXT NOT NULL,
    ports TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
