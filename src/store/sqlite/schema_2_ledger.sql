-- Amounts are nano-USD, tokens, requests or milliseconds, as the account counts. Times are milliseconds since 1970 unless
-- the column says otherwise. No foreign keys: what was spent outlives what it was spent on.

-- What is spent of a limit in one of its periods, and up to where it may be spent without asking again.
CREATE TABLE accounts (
    account TEXT NOT NULL,
    period INTEGER NOT NULL,
    posted INTEGER NOT NULL,
    leased INTEGER NOT NULL CHECK (leased >= posted),
    PRIMARY KEY (account, period)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_open ON accounts (account, period) WHERE leased > posted;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    period INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    first_request TEXT NOT NULL,
    last_request TEXT NOT NULL,
    comment TEXT NOT NULL,
    operation TEXT NOT NULL,
    UNIQUE (account, period, operation, kind)
) STRICT;
CREATE INDEX ledger_organization ON ledger (organization, at, id);
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger BEGIN
    SELECT raise(ABORT, 'entries of the ledger are not changed; append one that corrects');
END;
CREATE TRIGGER ledger_is_not_deleted BEFORE DELETE ON ledger BEGIN
    SELECT raise(ABORT, 'entries of the ledger are not deleted');
END;

-- The last batch of usage that each run of a process has stored: one that is repeated is known.
CREATE TABLE usage_commits (
    run TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What roll-ups are counted under. Written once, never changed.
CREATE TABLE dimensions (
    id INTEGER PRIMARY KEY,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    member TEXT NOT NULL,
    "group" TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    stream INTEGER NOT NULL,
    credential TEXT NOT NULL,
    UNIQUE (project, key, route, target, provider, model, endpoint, status, error, stream, credential, member, "group",
        organization)
) STRICT;
CREATE INDEX dimensions_organization ON dimensions (organization, project);

-- A bucket is the Unix time in seconds at which its minute, hour or day begins. Hours and days hold what is in minutes
-- before the mark `rollups_folded` in `notes`.
CREATE TABLE rollups_minute (
    project TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    duration BLOB NOT NULL,
    ttft BLOB NOT NULL,
    overhead BLOB NOT NULL,
    PRIMARY KEY (project, bucket, dimension)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollups_hour (
    project TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    duration BLOB NOT NULL,
    ttft BLOB NOT NULL,
    overhead BLOB NOT NULL,
    PRIMARY KEY (project, bucket, dimension)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollups_day (
    project TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    dimension INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    saved INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    duration BLOB NOT NULL,
    ttft BLOB NOT NULL,
    overhead BLOB NOT NULL,
    PRIMARY KEY (project, bucket, dimension)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollups_tag (
    project TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    organization TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    fee INTEGER NOT NULL,
    PRIMARY KEY (project, bucket, name, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    project TEXT NOT NULL,
    dimension INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    trace_id BLOB,
    generation INTEGER NOT NULL,
    version INTEGER,
    status INTEGER NOT NULL,
    client_ip TEXT,
    duration_us INTEGER NOT NULL,
    ttft_us INTEGER,
    overhead_us INTEGER NOT NULL,
    upstream_us INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    cache_write_1h INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    audio_input INTEGER NOT NULL,
    audio_output INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    cost INTEGER,
    fee INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    tags TEXT,
    metadata TEXT
) STRICT;
CREATE INDEX requests_page ON requests (project, at, id);
CREATE INDEX requests_request_id ON requests (request_id);
