"""Three books: the provider's truth log, the client's own record and the ledger agree to the nano-USD under mixed faults.

Usage: books.py [REQUESTS [CONNECTIONS [SEED]]], 100000, 64 and 1 by default. Prints a table of scenarios, then each claim;
ends with 1 when one does not hold. MILLRACE_BINARY and LOADTEST_BINARY name other builds than target/release.
"""

import collections
import json
import os
import sqlite3
import subprocess
import sys
import time

import books_load
from books_load import Scenario
from gateway import Gateway
from ledger_load import DAY, LOADTEST, metrics, open_store, records_waiting, serve_with_key

CANCELLED, ESTIMATED, SUSPECT = 1, 2, 4
FRAME_TOKENS, OUTPUT_MAX = 16, 500  # What a reservation adds to the bytes of a body; the cap of every model.
QUIESCE_SECONDS = 30
LIMITED = 400  # Requests that the route `limited` admits.
OPEN_MAX, REQUESTS_MAX = 64, 10_000_000
EVERY_LIMIT = (f"    rate_limiting: {{max_requests: {REQUESTS_MAX}, {DAY}}}\n"
               f"    budget_limiting: {{max_budget: 1000000, {DAY}}}\n"
               f"    token_limiting: {{input: {{max_token: 1000000000, {DAY}}}, output: {{max_token: 1000000000, {DAY}}}}}\n"
               f"    concurrency_limiting: {{max_concurrent: {OPEN_MAX}}}\n")


def told(name, model, weight, tokens, **more):
    """A scenario whose answer states these tokens and is delivered, in whatever form."""
    script = f"{model}prompt={tokens[0]},completion={tokens[1]},cached={tokens[2]},reasoning={tokens[3]}"
    return Scenario(name, script, weight, expect="reported", tokens=tokens, **more)


SCENARIOS = [
    told("plain", "fast/", 200, (101, 37, 0, 0)),
    told("plain-classes", "fast/", 200, (1237, 411, 777, 13)),
    told("plain-limits", "fast/", 200, (97, 53, 31, 7), limits=EVERY_LIMIT),
    told("stream", "stream/events=5,gap_ms=0,bytes=60,", 150, (149, 61, 17, 5), stream=True),
    told("stream-usage", "stream/events=5,gap_ms=0,bytes=60,", 100, (157, 67, 0, 0), stream=True, wants_usage=True),
    told("stream-limits", "stream/events=5,gap_ms=0,bytes=60,", 150, (89, 71, 19, 3), stream=True, limits=EVERY_LIMIT),
    told("stream-cuts", "fault/random-cuts@events=5,bytes=60,", 30, (173, 73, 0, 0), stream=True),
    told("no-done", "fault/no-done@events=5,bytes=60,", 20, (179, 79, 0, 0), stream=True),
    told("comments", "fault/comments=3@ms=1,events=5,bytes=60,", 20, (181, 83, 0, 0), stream=True),
    Scenario("usage-late", "fault/usage=late@events=5,bytes=60", 30, stream=True, expect="estimated"),
    Scenario("usage-above", "fast/prompt=90000,completion=90000", 30, expect="clamped", limits=EVERY_LIMIT),
    told("usage-unasked", "fault/usage=unasked@events=5,bytes=60,", 30, (193, 97, 0, 0), stream=True),
    told("usage-groq", "fault/usage=groq@events=5,bytes=60,", 30, (197, 103, 0, 0), stream=True),
    told("usage-twice-stream", "fault/usage=twice@events=5,bytes=60,", 20, (199, 107, 0, 0), stream=True),
    told("reuse", "fault/close-on-reuse@", 30, (211, 109, 0, 0)),
    told("reuse-reset", "fault/close-on-reuse=reset@", 20, (213, 111, 0, 0)),
    told("idle-close", "fault/idle-close@after_ms=5,", 20, (223, 113, 0, 0)),
    told("capped", "fast/", 40, (83, 127, 0, 0), limits=f"    rate_limiting: {{max_requests: {LIMITED}, {DAY}}}\n"),
    *(Scenario(f"usage-{kind}", f"fault/usage={kind}", 10, expect="estimated")
      for kind in ("missing", "null", "negative", "overflow", "float", "text")),
    *(Scenario(f"usage-{kind}-stream", f"fault/usage={kind}@events=5,bytes=60", 10, stream=True, expect="estimated")
      for kind in ("missing", "null", "negative", "overflow", "float", "text")),
    Scenario("usage-huge", "fault/usage=huge", 10, expect="clamped", limits=EVERY_LIMIT),
    Scenario("usage-absurd", "fault/usage=huge", 10, expect="cut"),
    Scenario("usage-low", "fast/size=8000,prompt=50,completion=1", 20, expect="raised"),
    Scenario("usage-low-stream", "stream/events=400,gap_ms=0,bytes=60,prompt=50,completion=1", 20, stream=True, wants_usage=True,
             expect="raised"),
    Scenario("usage-contradict", "fault/usage=contradict", 10),
    Scenario("usage-zero", "fault/usage=zero", 10, expect="nothing"),
    Scenario("status-429", "fault/status=429@retry_after=1", 40, expect="nothing"),
    Scenario("status-500", "fault/status=500", 40, expect="nothing"),
    Scenario("status-503-limits", "fault/status=503", 40, expect="nothing", limits=EVERY_LIMIT),
    Scenario("status-429-stream", "fault/status=429", 20, stream=True, expect="nothing"),
    Scenario("reset-head", "fault/reset@after_ms=1", 40, limits=EVERY_LIMIT),
    Scenario("reset-body", "fault/reset@at=body,after_ms=1", 40, expect="maybe"),
    Scenario("close-midhead", "fault/close@at=midhead,after_ms=1", 20, expect="maybe"),
    Scenario("length-short", "fault/length=short", 20, expect="maybe"),
    Scenario("length-long", "fault/length=long", 20, expect="maybe"),
    Scenario("garbage", "fault/garbage=binary", 20, expect="maybe"),
    Scenario("badhead", "fault/badhead", 20, expect="maybe"),
    Scenario("badjson", "fault/body=badjson", 20, expect="maybe"),
    Scenario("redirect", "fault/redirect", 10, expect="nothing"),
    Scenario("reset-stream", "fault/reset@chunk=3,after_ms=1,bytes=60", 40, stream=True, expect="estimated"),
    Scenario("fin-stream", "fault/fin@chunk=3,after_ms=1,bytes=60", 30, stream=True, expect="estimated", limits=EVERY_LIMIT),
    Scenario("error-event", "fault/error-event@bytes=60", 20, stream=True),
    Scenario("badjson-event", "fault/event=badjson@bytes=60", 20, stream=True),
    Scenario("empty-stream", "fault/empty-stream", 20, expect="maybe", stream=True),
    Scenario("cancel", "stream/events=200,gap_ms=2,bytes=60", 60, stream=True, cancel_events=4, expect="estimated"),
    Scenario("cancel-limits", "stream/events=200,gap_ms=2,bytes=60", 60, stream=True, cancel_events=7, expect="estimated",
             limits=EVERY_LIMIT),
    Scenario("cancel-forever", "fault/forever@ms=2,bytes=60", 20, stream=True, cancel_events=9, expect="estimated"),
    Scenario("stall", "fault/stall", 8, expect="maybe", timeout_ms=400),
    Scenario("stall-limits", "fault/stall@at=midhead", 8, expect="maybe", timeout_ms=400, limits=EVERY_LIMIT),
    Scenario("stall-stream", "fault/stall@chunk=3,bytes=60", 8, stream=True, timeout_ms=400, expect="estimated"),
    Scenario("half-body", "fast/latency_ms=1", 20, half=True, expect="nothing"),
]
NAMES = [scenario.name for scenario in SCENARIOS]


def rates(place):
    """Pico-USD a token of input, output, cached input: odd, so that nearly every product must be rounded."""
    return 150_001 + 7_919 * place, 600_011 + 10_007 * place, 37_501 + 1_009 * place


def usd(pico):
    return f"{pico // 1_000_000}.{pico % 1_000_000:06}"


def cost_of(place, tokens):
    """Nano-USD, rounded up once. Reasoning is priced as output."""
    given, made, cached, _ = tokens
    price = rates(place)
    return -(-((given - min(given, cached)) * price[0] + made * price[1] + min(given, cached) * price[2]) // 1000)


def closes_idle(scenario):
    """Such a provider closes connections that are kept: a request may be sent twice although the provider saw it once."""
    return scenario.model.startswith(("fault/close-on-reuse", "fault/idle-close"))


def project_text(mocks):
    models, routes = "chat_models:\n", "routes:\n"
    for place, scenario in enumerate(SCENARIOS):
        price = [usd(one) for one in rates(place)]
        mock = mocks[closes_idle(scenario)]
        models += (f'  - model_id: m{place}\n    model: "openai/{scenario.model}"\n'
                   f'    credentials: {{base_url: "http://{mock}/v1"}}\n    max_output_tokens: {OUTPUT_MAX}\n'
                   f'    input_cost_per_million_tokens: "{price[0]}"\n    output_cost_per_million_tokens: "{price[1]}"\n'
                   f'    input_cached_cost_per_million_tokens: "{price[2]}"\n')
        routes += f"  {scenario.name}:\n    chat_models: [m{place}]\n{scenario.limits}"
    return models + routes


def start_mock(truth):
    command = [LOADTEST, "mock", "--listen", "127.0.0.1:0", "--driver", "epoll", "--truth", truth]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split(" on ")[1].strip()


class Claims:
    """What must hold; each is printed, none stops the others."""

    def __init__(self):
        self.broken = 0

    def holds(self, claim, wrong, detail=""):
        """`wrong`: a list of what breaks the claim, or its truth."""
        fails = not wrong if isinstance(wrong, bool) else bool(wrong)
        self.broken += fails
        shown = f": {len(wrong)}, such as {wrong[:3]}" if fails and not isinstance(wrong, bool) else ""
        print(f"{'DIFFERS' if fails else 'holds  '}  {claim}{shown} {detail}".rstrip(), flush=True)

    def equal(self, claim, *values):
        self.holds(claim, len(set(values)) == 1, " = ".join(str(value) for value in values))


def read_rows(gateway):
    store = open_store(gateway)
    store.row_factory = sqlite3.Row
    rows = store.execute("SELECT requests.*, route, error FROM requests JOIN dimensions ON dimensions.id = dimension").fetchall()
    return store, rows


def read_truth(paths):
    """Lines of the providers by the id of their request."""
    lines = collections.defaultdict(list)
    for path in paths:
        for line in path.read_text().splitlines():
            line = json.loads(line)
            del line["headers"], line["body"]
            lines[line["request_id"]].append(line)
    return lines


def tokens_of(row):
    return row["input"], row["output"], row["cache_read"], row["reasoning"]


def is_sound_estimate(seen, row, told_by_mock):
    """Not less than was delivered, at four bytes a token; not more than the provider sent."""
    return seen.content_bytes // 4 <= row["output"] <= told_by_mock["bytes_out"]


def is_as_told(row, told_by_mock):
    """The provider was done before the gateway saw that the client had left."""
    stated = told_by_mock["input_tokens"], told_by_mock["output_tokens"]
    return told_by_mock["end"] == "complete" and stated == (row["input"], row["output"])


def compare_requests(claims, book, rows, truth):
    """Each request of the client: one row, its attempts, its tokens, its price."""
    by_id = {row["request_id"]: row for row in rows}
    asked = {seen.id for seen in book}
    claims.equal("I-4 requests asked, rows, different rows", len(asked), len(rows), len(by_id))
    claims.holds("I-4 each request has its row", sorted(asked - by_id.keys()))
    claims.holds("I-4 each row has its request", sorted(by_id.keys() - asked))
    pairs = [(seen, by_id[seen.id], truth.get(seen.id, [])) for seen in book if seen.id in by_id]
    claims.holds("I-5 each attempt at the provider is counted, and no other",
                 [(s.id, s.scenario.name, r["attempts"], len(t)) for s, r, t in pairs
                  if r["attempts"] != len(t) and not (closes_idle(s.scenario) and r["attempts"] - len(t) == 1)])
    claims.holds("I-5 nobody else asked the provider", sorted(truth.keys() - asked))
    claims.holds("status of the row is what the client saw",
                 [(s.id, s.scenario.name, s.status, r["status"]) for s, r, _ in pairs if s.status and s.status != r["status"]])
    served = [(s, r, t) for s, r, t in pairs if r["attempts"]]
    claims.holds("every attempted request has a price", [s.id for s, r, _ in served if r["cost"] is None])
    claims.holds("I-8 cost is tokens x price, rounded up once",
                 [(s.id, s.scenario.name, r["cost"], tokens_of(r)) for s, r, _ in served
                  if r["cost"] != cost_of(NAMES.index(s.scenario.name), tokens_of(r))])
    claims.holds("I-9 nothing is negative", [s.id for s, r, _ in served if min(*tokens_of(r), r["cost"] or 0, r["fee"]) < 0])
    reported = [(s, r, t) for s, r, t in served if s.scenario.expect == "reported" and s.whole and s.status == 200]
    claims.holds(f"I-8 billed = reported, {len(reported)} completed answers",
                 [(s.id, s.scenario.name, tokens_of(r), r["flags"]) for s, r, _ in reported
                  if tokens_of(r) != s.scenario.tokens or r["flags"]])
    claims.holds("the provider's own book has the same tokens",
                 [(s.id, s.scenario.name) for s, r, t in reported
                  if (t[-1]["input_tokens"], t[-1]["output_tokens"]) != (r["input"], r["output"])])
    paid = [(s, r) for s, r, _ in reported if s.cost is not None]
    told = [(s, r) for s, r, _ in reported if s.scenario.stream and s.usage]
    claims.holds(f"the usage in {len(told)} streams tells a price", [(s.id, s.scenario.name) for s, _ in told if s.cost is None])
    claims.holds(f"the price in {len(paid)} heads and usages is that of the row",
                 [(s.id, s.cost, r["cost"]) for s, r in paid if round(float(s.cost) * 1e9) != r["cost"]])
    claims.holds("usage that a client saw is that of the row",
                 [(s.id, s.scenario.name, s.usage, tokens_of(r)) for s, r, _ in reported if s.usage and s.usage != tokens_of(r)])
    claims.holds("failed before an answer: nothing is billed",
                 [(s.id, s.scenario.name, tokens_of(r), r["cost"]) for s, r, _ in pairs
                  if s.scenario.expect == "nothing" and (r["cost"] or any(tokens_of(r)))])
    maybe = [(s, r) for s, r, _ in served if s.scenario.expect == "maybe"]
    claims.holds(f"received and not answered as it should be: the input is estimated, {len(maybe)}",
                 [(s.id, s.scenario.name, tokens_of(r), r["flags"]) for s, r in maybe
                  if not r["flags"] & ESTIMATED or not 0 < r["input"] <= s.body_bytes or r["output"]])
    clamped = [(s, r) for s, r, _ in served if s.scenario.expect == "clamped" and s.status == 200]
    claims.holds(f"I-8 figures beyond the reservation are cut to it and flagged, {len(clamped)}",
                 [(s.id, s.scenario.name, tokens_of(r), r["flags"]) for s, r in clamped
                  if not r["flags"] & SUSPECT or (r["input"], r["output"]) != (s.body_bytes + FRAME_TOKENS, OUTPUT_MAX)])
    cut = [(s, r) for s, r, _ in served if s.scenario.expect == "cut" and s.status == 200]
    claims.holds(f"absurd figures are cut to the bytes and the longest answer and flagged, {len(cut)}",
                 [(s.id, s.scenario.name, tokens_of(r), r["flags"]) for s, r in cut
                  if not r["flags"] & SUSPECT or (r["input"], r["output"]) != (s.body_bytes + FRAME_TOKENS, OUTPUT_MAX)])
    raised = [(s, r, t) for s, r, t in served if s.scenario.expect == "raised" and s.status == 200 and s.whole]
    claims.holds(f"output below half of what was received is raised and flagged, {len(raised)}",
                 [(s.id, s.scenario.name, tokens_of(r), r["flags"]) for s, r, t in raised
                  if not r["flags"] & SUSPECT or not 100 <= r["output"] <= t[-1]["bytes_out"] // 8 or r["input"] != 50])
    claims.holds("what a stream told of such a cost is in its row",
                 [(s.id, s.cost, r["cost"]) for s, r, _ in raised if s.cost is not None and round(float(s.cost) * 1e9) != r["cost"]])
    guessed = [(s, r, t) for s, r, t in served if s.scenario.expect == "estimated" and s.status == 200 and s.events]
    claims.holds(f"I-8 estimates are flagged and bounded by what was delivered and received, {len(guessed)}",
                 [(s.id, s.scenario.name, tokens_of(r), s.content_bytes, t[-1]["bytes_out"]) for s, r, t in guessed
                  if not (is_sound_estimate(s, r, t[-1]) if r["flags"] & ESTIMATED else is_as_told(r, t[-1]))])


def compare_sums(claims, gateway, store, rows, project):
    """Rows, entries, accounts, roll-ups, the API and the metrics: the same sums."""
    def one(sql, *values):
        return store.execute(sql, values).fetchone()

    total = sum(row["cost"] or 0 for row in rows)
    account = f"cost:{project}"
    entered = one("SELECT sum(amount), sum(requests) FROM ledger WHERE account = ?", account)
    fields = "requests, attempts, input, output, cache_read, reasoning, cost, cancelled, estimated"
    sums = ", ".join(f"coalesce(sum({field.strip()}), 0)" for field in fields.split(","))
    rolled = tuple(one(f"SELECT {sums} FROM rollups_minute"))
    by_row = (len(rows), *(sum(row[name] or 0 for row in rows) for name in fields.split(", ")[1:7]),
              sum(row["flags"] & CANCELLED for row in rows), sum(row["flags"] & ESTIMATED for row in rows) // ESTIMATED)
    claims.equal("I-2 nano-USD: rows, entries, account, roll-ups", total, entered[0],
                 one("SELECT posted FROM accounts WHERE account = ?", account)[0], rolled[6])
    claims.equal(f"I-2 {fields}: rows, roll-ups", by_row, rolled)
    for account, period, posted in store.execute("SELECT account, period, posted FROM accounts").fetchall():
        entries = one("SELECT sum(amount) FROM ledger WHERE account = ? AND period = ?", account, period)[0]
        if (entries or 0) != posted:
            claims.equal(f"I-2 {account}: entries, account", entries, posted)
    answer, _ = gateway.api("GET", f"/projects/{project}/analytics?granularity=day")
    claims.equal("I-2 nano-USD: rows, analytics of the API", total, int(answer["total"]["cost"].replace(".", "")))
    claims.equal("I-4 requests: rows, analytics of the API", len(rows), answer["total"]["requests"])
    found = metrics(gateway)
    claims.equal("requests: rows, metric", len(rows), int(found["millrace_requests_total"]))
    claims.holds("USD of the metric", abs(found["millrace_cost_usd_total"] * 1e9 - total) < 1 + total * 1e-9)
    for name in ("millrace_ledger_unreconciled_nanousd", "millrace_limit_overshoot_nanousd_max", "millrace_dropped_rows_total",
                 "millrace_inflight_requests", "millrace_open_streams", "millrace_usage_queue_depth",
                 "millrace_usage_batch_rows", "millrace_panics_total"):
        claims.equal(f"I-3 {name}", 0, int(found[name]))


def compare_limits(claims, store, rows):
    """What accounts of limits hold is what the rows of their route add up to; nothing stays reserved."""
    for scenario in SCENARIOS:
        if not scenario.limits:
            continue
        mine = [row for row in rows if row["route"] == scenario.name and row["attempts"]]
        want = {"requests": len(mine), "tokens_input": sum(row["input"] for row in mine),
                "tokens_output": sum(row["output"] for row in mine), "usd": sum(row["cost"] or 0 for row in mine)}
        accounts = store.execute("SELECT account, posted FROM accounts WHERE account LIKE ?",
                                 (f"%{scenario.name}/%",)).fetchall()
        claims.holds(f"{scenario.name} has accounts", bool(accounts))
        for account, posted in accounts:
            kind = next((kind for kind in want if f"/{kind}" in account), account)
            claims.equal(f"account {account.split('/', 1)[-1]}: rows, posted", want.get(kind, kind), posted)


def quiesce(gateway, count):
    """Waits until everything that was asked is stored."""
    until = time.monotonic() + QUIESCE_SECONDS
    while time.monotonic() < until:
        found = metrics(gateway)
        stored = open_store(gateway).execute("SELECT count(*) FROM requests").fetchone()[0]
        if not found["millrace_inflight_requests"] and not records_waiting(found) and stored >= count:
            break
        time.sleep(0.2)
    time.sleep(1)


def show(book, rows):
    """One line a scenario."""
    by_id = {row["request_id"]: row for row in rows}
    print(f"{'scenario':22} {'asked':>7} {'left':>6} {'attempts':>8} {'input':>10} {'output':>9} {'estimated':>9} {'nano-USD':>15}  statuses")
    for scenario in SCENARIOS:
        asked = [seen for seen in book if seen.scenario is scenario]
        mine = [by_id[seen.id] for seen in asked if seen.id in by_id]
        statuses = dict(collections.Counter(row["status"] for row in mine).most_common(4))
        print(f"{scenario.name:22} {len(asked):7} {sum(seen.left for seen in asked):6} {sum(row['attempts'] for row in mine):8} "
              f"{sum(row['input'] for row in mine):10} {sum(row['output'] for row in mine):9} "
              f"{sum(row['flags'] & ESTIMATED > 0 for row in mine):9} {sum(row['cost'] or 0 for row in mine):15}  {statuses}")


def probe(claims, gateway, key, routes, rows):
    """I-3, I-24: what was reserved is free again. Asks until the limits themselves have said so."""
    def scenario(name):
        return next(scenario for scenario in SCENARIOS if scenario.name == name)

    book = books_load.drive(gateway.data, key, routes, [scenario("stall-limits")], OPEN_MAX, OPEN_MAX, "hold")
    claims.equal(f"I-3 {OPEN_MAX} places of a limit of {OPEN_MAX} are free again: refused", 0, sum(seen.status == 429 for seen in book))
    for name in ("plain-limits", "stream-limits"):
        seen = books_load.drive(gateway.data, key, routes, [scenario(name)], 1, 1, name)[0]
        mine = [row for row in rows if row["route"] == name]
        claims.equal(f"I-3 {name}: requests left, as the limit says and as the rows say", int(seen.fields["x-ratelimit-remaining-requests"]),
                     REQUESTS_MAX - len(mine) - 1)
    return OPEN_MAX + 2


def main():
    count, connections, seed = (int(sys.argv[place]) if len(sys.argv) > place else default
                                for place, default in ((1, 100_000), (2, 64), (3, 1)))
    gateway = Gateway(settings="")
    truths = [gateway.folder / "truth.ndjson", gateway.folder / "truth-idle.ndjson"]
    mocks, addresses = zip(*map(start_mock, truths))
    ports = ", ".join(address.rsplit(":", 1)[1] for address in addresses)
    with open(gateway.settings, "a") as settings:
        settings.write(f"egress: {{allow: [{{cidr: 127.0.0.1/32, ports: [{ports}]}}]}}\n"
                       "usage: {request_rows: all}\nlog: {access: false}\n"
                       f"runtime: {{workers: {os.environ.get('BOOKS_WORKERS', '2')}}}\n")
    claims = Claims()
    try:
        gateway.start()
        project, key = serve_with_key(gateway, "books", project_text(addresses))
        routes = {name: f"books/{name}" for name in NAMES}
        began = time.monotonic()
        book = books_load.drive(gateway.data, key, routes, SCENARIOS, count, connections, seed)
        print(f"{count} requests over {connections} connections in {time.monotonic() - began:.1f} s, seed {seed}")
        quiesce(gateway, count)
        store, rows = read_rows(gateway)
        show(book, rows)
        compare_requests(claims, book, rows, read_truth(truths))
        compare_sums(claims, gateway, store, rows, project)
        compare_limits(claims, store, rows)
        capped = [row for row in rows if row["route"] == "capped"]
        claims.equal("requests that a limit admitted", min(LIMITED, len(capped)), sum(row["status"] == 200 for row in capped))
        count += probe(claims, gateway, key, routes, rows)
        quiesce(gateway, count)
        before = store.execute("SELECT account, period, posted FROM accounts ORDER BY 1, 2").fetchall()
        claims.equal("status of a clean stop", 0, gateway.stop())
        store.close()
        store, after = read_rows(gateway)
        claims.equal("rows before and after the stop", count, len(after))
        claims.holds("I-3 every lease is returned", store.execute("SELECT * FROM accounts WHERE leased <> posted").fetchall())
        claims.holds("a stop changes no account",
                     [list(map(tuple, before))] if list(map(tuple, before)) !=
                     [tuple(row) for row in store.execute("SELECT account, period, posted FROM accounts ORDER BY 1, 2")] else [])
        print(f"{claims.broken} claims do not hold" if claims.broken else "the books agree")
        return 1 if claims.broken else 0
    finally:
        if gateway.process:
            gateway.stop()
        for mock in mocks:
            mock.kill()
            mock.wait()


if __name__ == "__main__":
    sys.exit(main())
