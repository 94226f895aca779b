"""Starts the gateway in front of an upstream and knows its addresses."""

import hashlib
import os
import queue
import re
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import certificates

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("MILLRACE_BIN", ROOT / "target/debug/millrace"))
KEY = "mr_test_000000000000AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA359g7Y"
CHAT, EMBED, TRANSCRIBE = "demo/chat", "demo/embed", "demo/transcribe"


class Gateway:
    """`millrace demo` with its routes on one OpenAI-compatible upstream."""

    def __init__(self, upstream, model, workers=2):
        self._run(
            ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--key", KEY]
            + ["--workers", str(workers), "--upstream", upstream, "--model", model]
        )

    def _run(self, arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")}
        self.process = subprocess.Popen(
            [str(BINARY), *arguments], stdout=subprocess.PIPE, env=environment, text=True
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
        until = time.monotonic() + 60
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
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class EdgeGateway(Gateway):
    """The same routes from files, and TLS with HTTP/2 in front of them. `url` is that of the edge."""

    def __init__(self, upstream, model, workers=2):
        self.folder = tempfile.TemporaryDirectory(prefix="millrace-edge-")
        at = Path(self.folder.name)
        at.chmod(0o700)
        self.authority = certificates.write(at)
        (at / "projects").mkdir()
        target = f'model: "openai/{model}", credentials: {{base_url: "{upstream}"}}'
        (at / "projects/demo.yaml").write_text(
            f"chat_models: [{{model_id: chat, {target}}}]\n"
            f"embedding_models: [{{model_id: embed, {target}}}]\n"
            f"transcription_models: [{{model_id: transcribe, {target}}}]\n"
            "routes: {chat: {chat_models: [chat]}, embed: {embedding_models: [embed]}, "
            "transcribe: {transcription_models: [transcribe]}}\n"
        )
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        write_private(at / "keys.yaml", f'keys: [{{id: tests, digest: "sha256:{digest}", projects: [demo]}}]\n')
        write_private(
            at / "millrace.yaml",
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nprojects_dir: projects\nkeys_file: keys.yaml\n"
            f"data_dir: .\nruntime: {{workers: {workers}}}\n"
            f"egress: {{allow: [{{cidr: 127.0.0.1/32, ports: [{urlsplit(upstream).port}]}}]}}\n"
            "edge: {listen: 127.0.0.1:0, certificates: [{cert: gateway.pem, key: gateway.key}]}\n",
        )
        self._run(["serve", "-c", str(at / "millrace.yaml")])
        self.url = f"https://{self._address('edge on https://')}/v1"

    def stop(self):
        try:
            return super().stop()
        finally:
            self.folder.cleanup()


def write_private(path, text):
    path.write_text(text)
    path.chmod(0o600)
