"""Starts the gateway in front of an upstream and knows its addresses."""

import os
import queue
import re
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("MILLRACE_BIN", ROOT / "target/release/millrace"))
KEY = "mr_test_000000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA359g7Y"
CHAT, EMBED = "demo/chat", "demo/embed"


class Gateway:
    """`millrace demo` with both routes on one OpenAI-compatible upstream."""

    def __init__(self, upstream, model, workers=2):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
        self.process = subprocess.Popen(
            [str(BINARY), "demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--key", KEY]
            + ["--workers", str(workers), "--upstream", upstream, "--model", model],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.seen = []
        self.address = self._address("listening on http://")
        self.admin = self._address("admin on http://")
        self.url = f"http://{self.address}/v1"

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _address(self, marker):
        until = time.monotonic() + 20
        while True:
            for line in self.seen:
                found = re.search(re.escape(marker) + r"([0-9.:\[\]a-f]+)", line)
                if found:
                    return found.group(1)
            line = self.lines.get(timeout=max(0.01, until - time.monotonic()))
            if line is None:
                raise RuntimeError(f"the gateway ended before it printed {marker!r}: {self.seen}")
            self.seen.append(line)

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
