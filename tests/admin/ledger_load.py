"""What the tests of the ledger read of a gateway: its metrics, its project, its store."""

import collections
import os
import pathlib
import sqlite3

from gateway import ROOT

LOADTEST = pathlib.Path(os.environ.get("LOADTEST_BINARY", ROOT / "target/release/loadtest"))
DAY = "window_size: 1 day"


def metrics(gateway):
    """The sum of each metric over its labels."""
    sums = collections.Counter()
    for line in gateway.call("GET", "/metrics")[2].decode().splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            sums[series.split("{")[0]] += float(value)
    return sums


def records_waiting(found):
    """Records on their way to the store: in the queue and in the batch behind it."""
    return int(found["millrace_usage_queue_depth"] + found["millrace_usage_batch_rows"])


def open_store(gateway):
    """The store of a gateway, which may be running: to read only."""
    return sqlite3.connect(f"file:{gateway.folder / 'data/millrace.db'}?mode=ro", uri=True)


def serve_with_key(gateway, name, text):
    """Makes a project of the first organization, serves this text, makes a key: id of the project, text of the key."""
    organization = gateway.api("GET", "/organizations")[0]["data"][0]["id"]
    project = gateway.serve_project(organization, name, text)
    key = gateway.api("POST", f"/projects/{project}/keys", {"description": "load"})[0]["key"]
    return project, key
