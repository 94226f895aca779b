#!/usr/bin/env python3
"""Writes build/start.ld: the functions that the start of the gateway runs, for the linker to put side by side.

    scripts/start-list.py [-o FILE] [BINARY]

BINARY is a release build, by default target/release/millrace, with `loadtest` beside it. It is started under callgrind (of valgrind) in file mode with limits
and in store mode; what ran until it was ready and had answered health, metrics and a few requests, some of which their clients gave up, is the list.

Names of functions hold hashes that another compiler, another version of a crate and even another path of the checkout change, so the list has a `*` in
their place. That takes in all functions of a name, of a generic one also those that the start does not run; these come last.
"""

import argparse
import collections
import pathlib
import re
import signal
import socket
import string
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
GATEWAYS = ROOT / "loadtest" / "gateways"
# Callgrind makes the program some fifty times slower.
READY_S_MAX = 180
# What is no part of a name: the hash behind an old name; that of a crate in a new one, and the references that count its letters; the number of a copy.
CHANGING = ((r"17h[0-9a-f]{16}E", "17h*E"), (r"Cs[0-9A-Za-z]+_", "Cs*_"), (r"B[0-9A-Za-z]{0,2}_", "B*_"), (r"\.\d+$", "*"))
HEAD = """/* The functions that the start of the gateway runs; build/main.rs says what for.
   Written by scripts/start-list.py, by hand nothing is to be changed here. */
SECTIONS
{
  .text :
  {
"""
TAIL = """  }
}
INSERT BEFORE .init;
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def settings(folder, mode, ports):
    """Writes the files of one gateway and returns the arguments of its start."""
    common = {"listen": f"127.0.0.1:{ports[0]}", "admin": f"127.0.0.1:{ports[1]}", "upstream_port": str(ports[2]), "dir": str(folder), "workers": "1"}
    common |= {"connections": "100", "model": "hold" if mode == "streams" else "fast", "upstream": f"127.0.0.1:{ports[2]}"}

    def fill(template, name):
        text = (GATEWAYS / template).read_text()
        for key, value in common.items():
            text = text.replace("{" + key + "}", value)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

    fill("millrace-server.yaml.template", "server.yaml")
    fill("millrace-governed.yaml.template", "projects/bench.yaml")
    fill("millrace-keys.yaml.template", "keys.yaml")
    if mode == "store":
        path = folder / "server.yaml"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(line for line in lines if not re.match(r"(projects_dir|keys_file):", line)))
    return ["serve", "-c", str(folder / "server.yaml"), "--data-dir", str(folder / "data")]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
            return True
    except OSError:
        return False


def wait_ready(program, url):
    end = time.monotonic() + READY_S_MAX
    while not answers(url):
        if program.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"{program.args}: it did not become ready")
        time.sleep(0.5)


def key():
    return re.search(r"^key: (\S+)", (GATEWAYS / "millrace.yaml").read_text(), re.M)[1]


def drive(binary, port, *more):
    command = [binary.parent / "loadtest", "drive", f"http://127.0.0.1:{port}/v1/chat/completions", "--model", "bench/chat", "--key", key(), "--body-bytes", "800"]
    subprocess.run([*command, *more], stdout=subprocess.DEVNULL, check=True)


def functions_run(binary, mode):
    """Starts the program once and returns the names of its functions that ran, as the linker knows them."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        ports = [free_port() for _ in range(3)]
        arguments = settings(folder, mode, ports)
        mock = subprocess.Popen([binary.parent / "loadtest", "mock", "--listen", f"127.0.0.1:{ports[2]}"], stdout=subprocess.DEVNULL)
        tool = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={folder}/out"]
        gateway = subprocess.Popen([*tool, binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_ready(gateway, f"http://127.0.0.1:{ports[1]}/{'livez' if mode == 'store' else 'readyz'}")
            answers(f"http://127.0.0.1:{ports[1]}/metrics")
            if mode == "file":
                drive(binary, ports[0], "--requests", "5")
                drive(binary, ports[0], "--requests", "5", "--stream")
            if mode == "streams":
                drive(binary, ports[0], "--connections", "20", "--hold", "--duration", "5")
            # What goes by the clock has its turn.
            time.sleep(20)
            subprocess.run(["callgrind_control", "--dump", str(gateway.pid)], stdout=subprocess.DEVNULL, check=True)
            time.sleep(5)
        finally:
            for program in (gateway, mock):
                program.send_signal(signal.SIGKILL)
                program.wait()
        written = [path.read_text(errors="replace") for path in folder.glob("out*")]
    found = {match[1] for text in written for match in re.finditer(r"^c?fn=\(\d+\) (\S+)", text, re.M)}
    return {re.sub(r"'\d+$", "", name) for name in found}


def function_bytes(binary):
    listed = subprocess.run(["nm", "-S", "--defined-only", binary], stdout=subprocess.PIPE, text=True, check=True).stdout
    fields = (line.split() for line in listed.splitlines())
    return {line[3]: int(line[1], 16) for line in fields if len(line) == 4 and line[2] in "tTwW"}


def pattern(name):
    """The name without what changes."""
    for what, by in CHANGING if name.startswith("_R") else (CHANGING[0], CHANGING[-1]):
        name = re.sub(what, by, name)
    return name


def patterns(sizes, run):
    """The spelling of each function that ran, those first that take in least else."""
    groups = collections.defaultdict(lambda: [0, 0])
    for name, size in sizes.items():
        group = groups[pattern(name)]
        group[0] += size
        group[1] += size if name in run else 0
    surplus = {name: taken - ran for name, (taken, ran) in groups.items() if ran}
    return sorted(surplus, key=lambda name: (surplus[name], name)), sum(surplus.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", default=ROOT / "build" / "start.ld", type=pathlib.Path, metavar="FILE")
    parser.add_argument("binary", nargs="?", default=ROOT / "target" / "release" / "millrace", type=pathlib.Path)
    options = parser.parse_args()
    binary = options.binary.resolve()
    run = set().union(*(functions_run(binary, mode) for mode in ("file", "store", "streams")))
    sizes = function_bytes(binary)
    # A name with other signs would be read as something else by one of the linkers.
    plain = set(string.ascii_letters + string.digits + "_.$*")
    # What is marked as cold, such as the growth of a vector, has sections of another name.
    names, surplus = patterns(sizes, run)
    lines = [f"    *(.text.{name} .text.unlikely.{name})\n" for name in names if set(name) <= plain]
    options.o.write_text(HEAD + "".join(lines) + TAIL)
    print(f"{len(lines)} lines, {sum(sizes.get(name, 0) for name in run) >> 10} KiB of functions and {surplus >> 10} KiB of others")


if __name__ == "__main__":
    main()
