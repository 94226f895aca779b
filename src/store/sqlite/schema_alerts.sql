-- Rules of what is noticed, and for whom. Condition and channels are JSON; the key of a webhook's signature is sealed.
CREATE TABLE alerts (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    project TEXT REFERENCES projects (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    target TEXT,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    disabled_reason TEXT NOT NULL,
    event TEXT NOT NULL,
    condition TEXT NOT NULL,
    channels TEXT NOT NULL,
    sealed BLOB,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE INDEX alerts_of_organization ON alerts (organization, created_at, id);
CREATE INDEX alerts_of_project ON alerts (project, created_at, id);

-- What fires now: a restart must not notice it a second time.
CREATE TABLE alert_marks (
    alert TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    subject TEXT NOT NULL,
    level INTEGER NOT NULL,
    since INTEGER NOT NULL,
    noticed_at INTEGER NOT NULL,
    PRIMARY KEY (alert, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert_notices (
    id INTEGER PRIMARY KEY,
    alert TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    subject TEXT NOT NULL,
    value TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX alert_notices_page ON alert_notices (alert, at, id);

-- Notices on their way, and how that ended. The payload is written once, so that every try sends the same bytes.
CREATE TABLE alert_deliveries (
    id INTEGER PRIMARY KEY,
    notice INTEGER NOT NULL REFERENCES alert_notices (id) ON DELETE CASCADE,
    alert TEXT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    error TEXT NOT NULL
) STRICT;
CREATE INDEX alert_deliveries_due ON alert_deliveries (next_at) WHERE state = 'pending';
CREATE INDEX alert_deliveries_of_notice ON alert_deliveries (notice);
CREATE INDEX alert_deliveries_of_alert ON alert_deliveries (alert);
