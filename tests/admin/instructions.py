"""Instructions of a request in user space, with few and with many projects and keys: they must not grow with either.

Usage: instructions.py [PROJECTS:KEYS ...], 1:10 1000:100000 by default. Counted by callgrind on the worker's thread,
after a warm-up, with everything on: key, rules, limits of route and key, a budget, a price, the usage row. Callgrind knows no SHA
extensions, so a key costs about 6,000 instructions more here than on a processor that has them.
MILLRACE_BINARY and LOADTEST_BINARY name other builds than target/release. Ends with 1 when the last is 2 % above the first.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import gateway as gateways
from gateway import ROOT, Gateway
from scale import fill

LOADTEST = pathlib.Path(os.environ.get("LOADTEST_BINARY", ROOT / "target/release/loadtest"))
REQUESTS, WARM_UP, CONNECTIONS = 8_000, 1_000, 64
GROWTH_MAX = 1.02
LIMITS = """    rate_limiting: {max_requests: 1000000000, window_size: 1 minute}
    token_limiting: {scope: key, input: {max_token: 1000000000000, window_size: 1 minute}}
    budget_limiting: {max_budget: 1000000, window_size: 1 day}
"""


def text_for(provider):
    return (f'chat_models: [{{model_id: m, model: openai/fast, credentials: {{base_url: "http://{provider}/v1"}}, max_output_tokens: 4096, '
            "input_cost_per_million_tokens: 0.15, output_cost_per_million_tokens: 0.6}]\n"
            f"routes:\n  chat:\n    chat_models: [m]\n{LIMITS}")


def prepare(gateway, provider, projects, keys):
    """Fills the store; returns the key of the load."""
    gateway.start()
    organization = gateway.api("GET", "/organizations")[0]["data"][0]["id"]
    project = gateway.serve_project(organization, "first", text_for(provider))
    other = gateway.api("POST", f"/projects/{project}/keys", {"description": "copied"})[0]["id"]
    made = gateway.api("POST", f"/projects/{project}/keys", {"description": "load"})[0]
    limit = {"kind": "requests", "amount": 1000000000, "window": "1 minute"}
    for owner, body in ((f"/projects/{project}/keys/{made['id']}/limits", limit),
                        (f"/projects/{project}/keys/{made['id']}/rules", {"type": "allow_models", "value": {"models": ["custom:127.0.0.1/*"]}})):
        gateway.api("POST", owner, body)
    gateway.stop()
    fill(gateway.folder / "data/millrace.db", project, other, projects, keys - 1)
    return made["key"]


def drive(gateway, key, requests, connections=CONNECTIONS):
    command = [LOADTEST, "drive", "--connections", str(connections), "--requests", str(requests), "--duration", "300",
               "--body-bytes", "800", "--model", "first/chat", "--key", key, "--json", f"http://{gateway.data}"]
    ran = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(ran.stdout or "{}").get("report") or {"ok": 0, "failed": ran.stderr}
    if report["ok"] != requests or report["failed"]:
        gateway.process.terminate()
        said = gateway.process.communicate(timeout=gateways.STOP_SECONDS)[0]
        raise RuntimeError(f"the load failed: {report}; the gateway ended with {gateway.process.returncode} and said: {said[-2000:]}")


def count(gateway, key):
    """Instructions a request: of the worker, of all other threads."""
    out = gateway.folder / "callgrind"
    gateways.START_SECONDS, gateways.STOP_SECONDS = 600, 300
    gateway.start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--separate-threads=yes", "--instr-atstart=no"])
    control = ["callgrind_control", "-i"]
    # The first request waits for its leases, which takes long under callgrind.
    drive(gateway, key, 1, 1)
    drive(gateway, key, WARM_UP)
    subprocess.run([*control, "on", str(gateway.process.pid)], check=True, capture_output=True)
    drive(gateway, key, REQUESTS)
    subprocess.run([*control, "off", str(gateway.process.pid)], check=True, capture_output=True)
    gateway.stop()
    texts = [file.read_text() for file in gateway.folder.glob("callgrind-*")]
    totals = [(int(re.search(r"^totals: (\d+)", text, re.M)[1]), "millrace::proxy::attempt" in text) for text in texts]
    # Not the largest: a store with 1,000,000 keys is still being checked then, by a thread of its own.
    [worker] = [total for total, is_worker in totals if is_worker]
    return worker / REQUESTS, (sum(total for total, _ in totals) - worker) / REQUESTS


def main():
    sizes = [tuple(map(int, size.split(":"))) for size in sys.argv[1:] or ["1:10", "1000:100000"]]
    mock = subprocess.Popen([LOADTEST, "mock", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    provider = mock.stdout.readline().split(" on ")[1].strip()
    port = provider.rsplit(":", 1)[1]
    found = []
    try:
        for projects, keys in sizes:
            gateway = Gateway(settings=f"egress: {{allow: [{{cidr: 127.0.0.1/32, ports: [{port}]}}]}}\n"
                                       "log: {access: false}\nruntime: {workers: 1}\n")
            key = prepare(gateway, provider, projects, keys)
            worker, others = count(gateway, key)
            found.append(worker)
            print(f"{projects:5} projects, {keys:8} keys: {worker:8.0f} instructions a request in the worker, {others:6.0f} in other "
                  f"threads, {worker / found[0]:.4f} of the first", flush=True)
    finally:
        mock.kill()
        mock.wait()
    return 1 if found[-1] > found[0] * GROWTH_MAX else 0


if __name__ == "__main__":
    sys.exit(main())
