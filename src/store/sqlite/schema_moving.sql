-- What is posted of accounts whose windows move, and where: the accounts themselves hold one sum over all time. Times are
-- nanoseconds since 1970.

-- What slots of sliding windows hold, by when they begin. Those that have left the window are deleted with the next.
CREATE TABLE account_slots (
    account TEXT NOT NULL,
    begins INTEGER NOT NULL,
    posted INTEGER NOT NULL,
    PRIMARY KEY (account, begins)
) STRICT, WITHOUT ROWID;

-- What is missing from buckets, as of when, and what refills in one window; 0 where that is not known yet.
CREATE TABLE account_buckets (
    account TEXT PRIMARY KEY,
    as_of INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    refill INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
