"""Full rate into the store: requests as fast as they come, every sum and a share of the rows stored, nobody held back.

Usage: rate.py [SECONDS [CONNECTIONS]], 600 and 64 by default. The provider is the built-in one, so that the gateway does as
much as it can; key, three limits, a budget, prices and tags are on. Ends with 1 when a request is refused, the queue
fills up or the sums miss a request. MILLRACE_BINARY and LOADTEST_BINARY name other builds than target/release.
"""

import collections
import json
import os
import pathlib
import subprocess
import sys
import time

from disk import Disk
from gateway import Gateway
from ledger_load import DAY, LOADTEST, metrics, open_store, records_waiting, serve_with_key

QUEUE_MAX = 16_384 + 65_536  # Records: the batch that collects behind a commit, and the queue behind it.
SAMPLE_SECONDS = 0.5
TEXT = f"""
chat_models:
  - model_id: m
    model: mock/m
    max_output_tokens: 64
    input_cost_per_million_tokens: "0.150001"
    output_cost_per_million_tokens: "0.600011"
routes:
  chat:
    chat_models: [m]
    rate_limiting: {{max_requests: 1000000000, {DAY}}}
    budget_limiting: {{max_budget: 1000000, {DAY}}}
    token_limiting: {{input: {{max_token: 1000000000000, {DAY}}}, output: {{max_token: 1000000000000, {DAY}}}}}
    concurrency_limiting: {{max_concurrent: 10000}}
"""


def cpu_seconds(process):
    """Seconds of CPU by the name of the thread."""
    ticks = collections.Counter()
    for stat in pathlib.Path(f"/proc/{process}/task").glob("*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(") ", 1)
        except FileNotFoundError:
            continue
        fields = rest.split()
        ticks[name.rstrip("0123456789-")] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return ticks


def stored_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("data/millrace.db*"))


def main():
    seconds, connections = (int(sys.argv[place]) if len(sys.argv) > place else default for place, default in ((1, 600), (2, 64)))
    gateway = Gateway(settings="usage: {request_rows: sampled, sample_percent: 5}\nlog: {access: false}\nruntime: {workers: 2}\n"
                               "drain: {grace: 10 s}\n")
    try:
        gateway.start()
        _, key = serve_with_key(gateway, "rate", TEXT)
        before = stored_bytes(gateway.folder)
        disk = Disk(gateway.folder)
        disk.start()
        cpu = cpu_seconds(gateway.process.pid)
        driver = subprocess.Popen(
            [LOADTEST, "drive", f"http://{gateway.data}/v1/chat/completions", "--connections", str(connections), "--duration",
             str(seconds), "--model", "rate/chat", "--key", key, "--json"], stdout=subprocess.PIPE, text=True)
        deepest, oldest, slowest = 0, 0.0, 0.0
        while driver.poll() is None:
            time.sleep(SAMPLE_SECONDS)
            asked_at = time.monotonic()
            found = metrics(gateway)
            slowest = max(slowest, time.monotonic() - asked_at)
            deepest = max(deepest, records_waiting(found))
            oldest = max(oldest, found["millrace_ledger_last_commit_age_seconds"])
        report = json.loads(driver.stdout.read())["report"]
        taken = report["elapsed_s"]
        spent = cpu_seconds(gateway.process.pid)
        spent.subtract(cpu)
        while records_waiting(found := metrics(gateway)):
            time.sleep(0.2)
        time.sleep(1)
        asked = int(found["millrace_requests_total"])
        refused = int(found["millrace_rate_limited_total"] + found["millrace_dropped_rows_total"])
        gateway.stop()
        store = open_store(gateway)
        stored, entered = (store.execute(sql).fetchone()[0] for sql in (
            "SELECT sum(requests) FROM rollups_minute", "SELECT sum(requests) FROM ledger WHERE account LIKE 'cost:%'"))
        rows, entries = (store.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("requests", "ledger"))
        grown = stored_bytes(gateway.folder) - before
        print(f"driver: {report['ok']} answers, {report['failed']} failed {report['faults']}, {report['reconnects']} reconnects")
        print(f"{asked} requests in {taken:.0f} s, {asked / taken:.0f} a second; p50 {report['latency']['p50_us']:.0f} us, p99 {report['latency']['p99_us']:.0f} us; {refused} refused or dropped")
        print(f"records that waited, queue and batch, most seen: {deepest} of {QUEUE_MAX}; oldest commit {oldest:.2f} s, slowest scrape {slowest:.2f} s; "
              f"longest sync of a file beside the store {max(disk.times):.2f} s")
        print(f"sums hold {stored}, the ledger {entered}; {rows} rows ({100 * rows / asked:.2f} %), {entries} entries")
        print(f"{grown / 2**20:.1f} MiB stored, {grown / asked * 1e6 / 2**20:.1f} MiB a million requests")
        whole = sum(spent.values())
        print("CPU: " + ", ".join(f"{name} {100 * used / whole:.1f} %" for name, used in spent.most_common(8) if used > 0))
        sound = not refused and stored == entered == asked and deepest < QUEUE_MAX and report["failed"] == 0
        return 0 if sound else 1
    finally:
        if gateway.process:
            gateway.stop()


if __name__ == "__main__":
    sys.exit(main())
