-- Second factors of operators. A row without `confirmed_at` is offered and not in force yet.
CREATE TABLE second_factors (
    user TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    confirmed_at INTEGER,
    last_step INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
