"""Serves, rollbacks and key changes under mixed load with open streams; ends with 1 when anything failed.

Usage: soak.py [MINUTES [CHANGES [STREAMS [PROJECTS [KEYS]]]]], 20, 1000, 500, 1000 and 100000 by default. Every answer must be of
one configuration, every stream must end as it began, and the counter of the route's limit must have counted each request once.
A change is two to five calls, each of which waits for the disk; its parts are printed apart from the gateway's own histograms, and
the disk beside them, so that one that stalls can be told from a gateway that does. Publishing may take PUBLISH_SECONDS_MAX.
"""

import json
import selectors
import socket
import statistics
import sys
import threading
import time

from asker import BODY, Asker, percentile, resident_kib
from disk import Disk
from gateway import Gateway
from scale import fill

LIMIT = 1_000_000_000
PUBLISH_SECONDS_MAX = 0.1  # The buckets next to it end at 80 and 160 ms, so more than 80 counts as late.
# What the gateway measures of a change, and what it is called here.
PARTS = (("config_compile", "compile"), ("store_wait", "wait for the store's writer"), ("store_commit", "commit, sync included"),
         ("store_checkpoint", "write the log back, in nobody's way"), ("config_publish", "publish until every worker shows it"))
# Twelve words at one a second: a stream outlives several configurations, and never sixteen.
TEXT = """chat_models:
  - {{model_id: m, model: mock/m{number}, params: {{token_delay_ms: {delay}}}}}
routes:
  chat:
    chat_models: [m]
    rate_limiting: {{algorithm: aligned_fixed_window, window_size: 1 day, max_requests: %d}}
""" % LIMIT


def text(number, delay=1000):
    return TEXT.format(number=number, delay=delay)


class Streams(threading.Thread):
    """Holds so many streams open; each one that ends well is opened again."""

    def __init__(self, gateway, key, count):
        super().__init__(daemon=True)
        self.gateway, self.count, self.stop = gateway, count, threading.Event()
        host, port = gateway.data.split(":")
        self.address = (host, int(port))
        body = json.dumps({"model": "first/chat", "stream": True, **BODY}).encode()
        self.request = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
                        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body
        self.opened, self.ended, self.failed = 0, 0, []

    def open(self, selector):
        one = socket.create_connection(self.address, 30)
        one.sendall(self.request)
        one.setblocking(False)
        self.opened += 1
        selector.register(one, selectors.EVENT_READ, bytearray())

    def run(self):
        selector = selectors.DefaultSelector()
        while selector.get_map() or not self.stop.is_set():
            while not self.stop.is_set() and len(selector.get_map()) < self.count:
                self.open(selector)
            for key, _ in selector.select(1):
                try:
                    read = key.fileobj.recv(65536)
                except ConnectionError as error:
                    self.failed.append(repr(error))
                    read = b""
                key.data.extend(read)
                if not read:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self.judge(bytes(key.data))

    def judge(self, answer):
        self.ended += 1
        head, _, body = answer.partition(b"\r\n\r\n")
        events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
        models = {json.loads(event).get("model") for event in events}
        told = next((line.split(b": ")[1].decode() for line in head.split(b"\r\n") if line.startswith(b"x-millrace-model")), None)
        if not head.startswith(b"HTTP/1.1 200") or b"data: [DONE]" not in body or models != {told}:
            self.failed.append(f"{head[:60]} {len(events)} events of {models}, told {told}, {body[-120:]}")


def times_of(gateway):
    """The gateway's histograms without labels: bounds and counts up to them, by name."""
    found = {}
    for line in gateway.call("GET", "/metrics")[2].decode().splitlines():
        name, bucket, rest = line.partition('_seconds_bucket{le="')
        if bucket:
            bound, _, count = rest.partition('"} ')
            found.setdefault(name.removeprefix("millrace_"), []).append((float(bound), int(count)))
    return found


def bounds_of(before, after):
    """How many were counted between two readings, and the bounds of p50, p99 and the longest in milliseconds."""
    counts = [(bound, count - dict(before).get(bound, 0)) for bound, count in after]
    every = counts[-1][1] if counts else 0
    def bound_of(share):
        return next(bound for bound, count in counts if count >= every * share) * 1000
    return (every, *(bound_of(share) if every else 0.0 for share in (0.5, 0.99, 1)))


def main():
    minutes, changes, streams, projects, keys = (
        int(sys.argv[place]) if len(sys.argv) > place else default
        for place, default in ((1, 20), (2, 1000), (3, 500), (4, 1000), (5, 100_000)))
    gateway = Gateway(settings="log: {access: false}\n").start()
    try:
        organization = gateway.api("GET", "/organizations")[0]["data"][0]["id"]
        project = gateway.serve_project(organization, "first", text(0))
        made = gateway.api("POST", f"/projects/{project}/keys", {"description": "load"})[0]
        gateway.stop()
        fill(gateway.folder / "data/millrace.db", project, made["id"], projects, keys)
        gateway.start()
        load = [Asker(gateway, made["key"], 0.014) for _ in range(4)]
        held = Streams(gateway, made["key"], streams)
        for one in [*load, held]:
            one.start()
        time.sleep(15)
        quiet = [len(one.latencies) for one in load]
        before, times, began = resident_kib(gateway), [], time.monotonic()
        disk, measured = Disk(gateway.folder), times_of(gateway)
        disk.start()
        for number in range(1, changes + 1):
            due = began + number * minutes * 60 / changes
            started = time.perf_counter()
            if number % 3 == 0:
                gateway.serve(project, text(number))
            elif number % 3 == 1:
                extra = gateway.api("POST", f"/projects/{project}/keys", {"description": "more"})[0]
                gateway.api("POST", f"/projects/{project}/keys/{extra['id']}/disable", {})
            elif number > 3:
                gateway.api("POST", f"/projects/{project}/config/rollback", {})
            times.append(time.perf_counter() - started)
            time.sleep(max(0.0, due - time.monotonic()))
        after, parts = resident_kib(gateway), times_of(gateway)
        syncs = sorted(disk.times)
        for one in [*load, held]:
            one.stop.set()
        for one in [*load, held]:
            one.join(120)
        answered = sum(len(one.latencies) for one in load) + held.ended
        plain_before = [x for one, count in zip(load, quiet) for x in one.latencies[:count]]
        plain_during = [x for one, count in zip(load, quiet) for x in one.latencies[count:]]
        failed = [one for client in load for one in client.failed] + held.failed
        mixed = sum(one.mixed for one in load)
        fields = {"authorization": f"Bearer {made['key']}", "content-type": "application/json"}
        last = gateway.call("POST", "/v1/chat/completions", {"model": "first/chat", **BODY}, fields, gateway.data)
        counted = LIMIT - int(dict((k.lower(), v) for k, v in dict(last[1]).items())["x-ratelimit-remaining-requests"])
        print(f"{changes} changes in {minutes} min with {projects} projects and {keys} keys: median "
              f"{statistics.median(times) * 1000:.1f} ms, p99 {percentile(times, 0.99):.1f} ms")
        slowest = 0.0
        for name, said in PARTS:
            every, middle, most, slowest = bounds_of(measured.get(name, []), parts.get(name, []))
            print(f"  {said}: {every} times, p50 up to {middle:g} ms, p99 up to {most:g} ms, the longest up to {slowest:g} ms")
        print(f"  syncs of a file beside the store: {len(syncs)} times, p50 {percentile(syncs, 0.5):.2f} ms, p99 {percentile(syncs, 0.99):.1f} ms, "
              f"the longest {syncs[-1] * 1000:.0f} ms")
        print(f"{answered} requests, {held.ended} of them streams ({streams} open at once): {len(failed)} failed, {mixed} mixed {failed[:3]}")
        print(f"p99 before the changes {percentile(plain_before, 0.99):.2f} ms, during {percentile(plain_during, 0.99):.2f} ms; "
              f"p50 {percentile(plain_before, 0.5):.2f} and {percentile(plain_during, 0.5):.2f} ms")
        print(f"limit counted {counted} of {answered + 1} requests; resident {before} KiB before, {after} KiB after")
        whole = gateway.api("GET", "/audit/verify")[0]
        print(f"audit log: {whole['entries']} entries, whole: {whole['ok']}")
        late = slowest > PUBLISH_SECONDS_MAX * 1000
        return 1 if failed or mixed or late or counted != answered + 1 or not whole["ok"] else 0
    finally:
        gateway.stop()


if __name__ == "__main__":
    sys.exit(main())
