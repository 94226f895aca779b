"""A gateway in store mode for tests of the admin API: starts it, talks to it, stops it."""

import http.client
import json
import os
import pathlib
import re
import secrets
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("MILLRACE_BINARY", ROOT / "target/release/millrace"))
START_SECONDS = 60
STOP_SECONDS = 30


class Gateway:
    """One process with a folder of its own. Ports come from the kernel."""

    def __init__(self, folder=None, settings=""):
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="millrace-admin-")
        self.folder = pathlib.Path(folder or self._temporary.name)
        self.token = "mr_admin_" + secrets.token_hex(22)
        self.settings = self.folder / "millrace.yaml"
        self.settings.write_text(
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\ndata_dir: data\n"
            "limits: {admin_reads_per_minute: 1000000, admin_writes_per_minute: 1000000}\n" + settings
        )
        self.process = None

    def start(self, under=()):
        """Starts it, `under` another program if one is given."""
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*under, BINARY, "serve", "-c", self.settings],
            env={**os.environ, "MILLRACE_ADMIN_TOKEN": self.token},
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        began = time.monotonic()
        found = {}
        while time.monotonic() - began < START_SECONDS and len(found) < 2:
            line = self.process.stdout.readline()
            if not line:
                break
            for name, prefix in (("data", "listening on "), ("admin", "admin on ")):
                match = re.match(prefix + r"http://([^\s]+)", line)
                if match:
                    found[name] = match.group(1)
        if len(found) < 2:
            raise RuntimeError(f"the gateway did not start: {(self.folder / 'log').read_text()}")
        self.data, self.admin = found["data"], found["admin"]
        return self

    def stop(self):
        """SIGTERM, and what it ended with."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.log.close()
            self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def call(self, method, path, body=None, headers=(), address=None):
        """Status, headers and decoded body of one request to the admin API."""
        connection = http.client.HTTPConnection(address or self.admin, timeout=30)
        fields = {"authorization": f"Bearer {self.token}", **dict(headers)}
        payload = body
        if body is not None and not isinstance(body, (bytes, str)):
            payload = json.dumps(body)
            fields.setdefault("content-type", "application/json")
        connection.request(method, path, payload, fields)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        kind = answer.headers.get("content-type", "")
        decoded = json.loads(text) if text and "json" in kind else text
        return answer.status, answer.headers, decoded

    def api(self, method, path, body=None, headers=(), want=(200, 201, 202, 204)):
        """As `call` under `/api/v1`; any other status than those wanted is an error."""
        status, fields, decoded = self.call(method, "/api/v1" + path, body, headers)
        if status not in want:
            raise RuntimeError(f"{method} {path}: {status} {decoded}")
        return decoded, fields

    def serve_project(self, organization, name, text):
        """Makes a project and serves this text: its id."""
        project, _ = self.api("POST", f"/organizations/{organization}/projects", {"name": name})
        self.serve(project["id"], text)
        return project["id"]

    def serve(self, project, text):
        """Saves, approves and serves a text: the answer of serve."""
        shown, _ = self.api("GET", f"/projects/{project}")
        condition = {"if-none-match": "*"}
        if shown["open_version"] is not None:
            _, fields = self.api("GET", f"/projects/{project}/config/draft")
            condition = {"if-match": fields["etag"]}
        draft = {"content-type": "application/yaml", **condition}
        saved, _ = self.api("PUT", f"/projects/{project}/config/draft", text, draft)
        version = saved["version"]
        self.api("POST", f"/projects/{project}/config/versions/{version}/approve", {})
        return self.api("POST", f"/projects/{project}/config/versions/{version}/serve", {})[0]
