"""Requests of one client at one route of a running gateway, beside changes of its configuration."""

import http.client
import json
import threading
import time

BODY = {"messages": [{"role": "user", "content": "x"}]}


def percentile(values, share):
    """Milliseconds, of seconds."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] * 1000 if values else 0.0


def resident_kib(gateway):
    with open(f"/proc/{gateway.process.pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


class Asker(threading.Thread):
    """Asks `first/chat` on one connection until it is told to stop; remembers what failed or was mixed.

    `pause`: seconds from one request to the next, 0 for as fast as they come.
    """

    def __init__(self, gateway, key, pause=0.0):
        super().__init__(daemon=True)
        self.gateway, self.key, self.pause, self.stop = gateway, key, pause, threading.Event()
        self.latencies, self.failed, self.mixed = [], [], 0

    def run(self):
        connection = http.client.HTTPConnection(self.gateway.data, timeout=30)
        body = json.dumps({"model": "first/chat", **BODY})
        fields = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        while not self.stop.is_set():
            began = time.perf_counter()
            try:
                connection.request("POST", "/v1/chat/completions", body, fields)
                answer = connection.getresponse()
                read = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
                continue
            took = time.perf_counter() - began
            self.latencies.append(took)
            if answer.status != 200:
                self.failed.append(f"{answer.status} {read[:100]}")
            # The model's name holds the number of the serve: route, answer and version must belong together.
            elif answer.headers["x-millrace-model"] != json.loads(read)["model"]:
                self.mixed += 1
            if self.pause:
                time.sleep(max(0.0, self.pause - took))
