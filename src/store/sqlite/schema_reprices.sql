-- Runs that price past usage again. A run is planned whole before anything of it is done: its changes stand in
-- `reprice_changes` until they are carried out, a bounded number in each transaction. A project has one open run at most.
CREATE TABLE reprices (
    id TEXT PRIMARY KEY,
    organization TEXT NOT NULL,
    project TEXT NOT NULL,
    operation TEXT NOT NULL UNIQUE,
    credential TEXT NOT NULL,
    state TEXT NOT NULL,
    changes INTEGER NOT NULL,
    done INTEGER NOT NULL,
    comment TEXT NOT NULL,
    report TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX reprices_open ON reprices (project) WHERE state <> 'done';
CREATE INDEX reprices_project ON reprices (project, made_at, id);
CREATE TABLE reprice_changes (
    reprice TEXT NOT NULL,
    number INTEGER NOT NULL,
    change TEXT NOT NULL,
    PRIMARY KEY (reprice, number)
) STRICT, WITHOUT ROWID;

-- What a stored request costs since it was priced again; its row stays as it was written. Goes with it.
CREATE TABLE request_corrections (
    request INTEGER PRIMARY KEY,
    reprice TEXT NOT NULL,
    cost INTEGER NOT NULL,
    price_source TEXT NOT NULL,
    price_date TEXT
) STRICT;
CREATE TRIGGER request_corrections_of_request AFTER DELETE ON requests BEGIN
    DELETE FROM request_corrections WHERE request = OLD.id;
END;
