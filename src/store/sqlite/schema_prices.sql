-- Prices that an organization has agreed with its providers, as one list: it is read whole whenever a project is compiled.
CREATE TABLE organization_prices (
    organization TEXT PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    prices TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Who stated the price of a request, and as of when; empty where nothing was priced, and in rows of before.
ALTER TABLE requests ADD COLUMN price_source TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN price_date TEXT;
