"""Start, publish and serves under load with many projects and keys; prints figures, ends with 1 when a request failed.

Usage: scale.py [PROJECTS [KEYS [SERVES]]], 1000, 100000 and 200 by default. The store is filled by SQL: through the API it would
take an hour; what is filled in is what the API has made once, under other names.
"""

import secrets
import sqlite3
import statistics
import string
import sys
import time

from asker import BODY, Asker, percentile, resident_kib
from gateway import Gateway

TEXT = "chat_models: [{model_id: m, model: mock/m}]\nroutes: {chat: {chat_models: [m]}}\n"
LETTERS = string.digits + string.ascii_letters


def random_id(prefix, count=20):
    return prefix + "".join(secrets.choice(LETTERS) for _ in range(count))


def fill(path, project, key, projects, keys):
    """Copies one project and one key, with new ids, digests and names."""
    store = sqlite3.connect(path)
    store.execute("PRAGMA foreign_keys = off")

    def rows_of(table, column, value):
        cursor = store.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
        return [name for name, *_ in cursor.description], cursor.fetchall()

    def insert(table, names, row):
        columns = ",".join(f'"{name}"' for name in names)
        store.execute(f"INSERT INTO {table} ({columns}) VALUES ({','.join('?' * len(names))})", row)

    ids = [project]
    tables = {table: rows_of(table, "project", project) for table in ("versions", "version_texts", "activations")}
    names, [template] = rows_of("projects", "id", project)
    for number in range(projects - 1):
        new = random_id("prj_")
        ids.append(new)
        row = dict(zip(names, template))
        name = f"copy-{number}"
        row.update(id=new, name=name, name_folded=name, slug=name, searched=name)
        insert("projects", names, [row[column] for column in names])
        for table, (columns, found) in tables.items():
            for one in found:
                values = dict(zip(columns, one))
                values["project"] = new
                insert(table, columns, [values[column] for column in columns])
    names, [template] = rows_of("keys", "id", key)
    for number in range(keys - 1):
        row = dict(zip(names, template))
        row.update(
            id=random_id("key_"),
            project=ids[number % len(ids)],
            public_id=random_id("mr_test_", 12),
            digest=secrets.token_bytes(32),
        )
        insert("keys", names, [row[column] for column in names])
    store.commit()
    store.close()


def load(gateway, key, work):
    clients = [Asker(gateway, key) for _ in range(8)]
    for client in clients:
        client.start()
    work()
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join()
    latencies = [one for client in clients for one in client.latencies]
    failed = [one for client in clients for one in client.failed]
    return latencies, failed, sum(client.mixed for client in clients)


def main():
    projects, keys, serves = (int(sys.argv[place]) if len(sys.argv) > place else default
                              for place, default in ((1, 1000), (2, 100_000), (3, 200)))
    gateway = Gateway().start()
    try:
        organization = gateway.api("GET", "/organizations")[0]["data"][0]["id"]
        project = gateway.serve_project(organization, "first", TEXT)
        made = gateway.api("POST", f"/projects/{project}/keys", {"description": "load"})[0]
        gateway.stop()
        fill(gateway.folder / "data/millrace.db", project, made["id"], projects, keys)

        began = time.monotonic()
        gateway.start()
        fields = {"authorization": f"Bearer {made['key']}", "content-type": "application/json"}
        status = gateway.call("POST", "/v1/chat/completions", {"model": "first/chat", **BODY}, fields, gateway.data)[0]
        started = time.monotonic() - began
        print(f"{projects} projects, {keys} keys: {started:.2f} s from start to the first answer ({status}), "
              f"{resident_kib(gateway)} KiB")

        quiet, failed, mixed = load(gateway, made["key"], lambda: time.sleep(5))
        print(f"without changes: {len(quiet)} requests, p50 {percentile(quiet, 0.5):.2f} ms, p99 {percentile(quiet, 0.99):.2f} ms, "
              f"{len(failed)} failed, {mixed} mixed")
        times = {"serve": [], "rollback": [], "key": []}

        def change():
            for number in range(serves):
                for name, action in (
                    ("serve", lambda: gateway.serve(project, TEXT.replace("mock/m", f"mock/m{number}"))),
                    ("rollback", lambda: gateway.api("POST", f"/projects/{project}/config/rollback", {})),
                    ("key", lambda: gateway.api("POST", f"/projects/{project}/keys", {"description": "more"})),
                ):
                    began = time.perf_counter()
                    action()
                    times[name].append(time.perf_counter() - began)

        before = resident_kib(gateway)
        busy, failed, mixed = load(gateway, made["key"], change)
        print(f"during {serves} serves, rollbacks and new keys each: {len(busy)} requests, p50 {percentile(busy, 0.5):.2f} ms, "
              f"p99 {percentile(busy, 0.99):.2f} ms, {len(failed)} failed, {mixed} mixed {failed[:3]}")
        for name, values in times.items():
            print(f"{name}: median {statistics.median(values) * 1000:.1f} ms, p99 {percentile(values, 0.99):.1f} ms"
                  + (" (save, approve and serve together)" if name == "serve" else ""))
        print(f"resident: {before} KiB before, {resident_kib(gateway)} KiB after")
        whole = gateway.api("GET", "/audit/verify")[0]
        print(f"audit log: {whole['entries']} entries, whole: {whole['ok']}")
        return 1 if failed or mixed or not whole["ok"] or status != 200 else 0
    finally:
        gateway.stop()


if __name__ == "__main__":
    sys.exit(main())
