-- Provider keys may belong to the instance: then neither an organization nor a project owns them. There is one a provider.
CREATE TABLE provider_keys_new (
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
    CHECK (organization IS NULL OR project IS NULL)
) STRICT, WITHOUT ROWID;
INSERT INTO provider_keys_new (id, organization, project, provider, label, base_url, sort_order, status, sealed,
    sealed_version, sealed_last4, sealed_fingerprint, sealed_at, created_at, revision)
SELECT id, organization, project, provider, label, base_url, sort_order, status, sealed, sealed_version, sealed_last4,
    sealed_fingerprint, sealed_at, created_at, revision FROM provider_keys;
DROP TABLE provider_keys;
ALTER TABLE provider_keys_new RENAME TO provider_keys;
CREATE INDEX provider_keys_organization ON provider_keys (organization, sort_order) WHERE organization IS NOT NULL;
CREATE INDEX provider_keys_project ON provider_keys (project, sort_order) WHERE project IS NOT NULL;
CREATE UNIQUE INDEX provider_keys_platform ON provider_keys (provider) WHERE organization IS NULL AND project IS NULL;
CREATE TRIGGER credential_uses_of_provider_key AFTER DELETE ON provider_keys
BEGIN
    DELETE FROM credential_uses WHERE id = OLD.id;
END;
