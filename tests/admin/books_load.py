"""The client's side of the three books: what is asked, and what came back."""

import asyncio
import dataclasses
import json
import random

# Longest wait for an answer that a scenario does not cut short itself.
PATIENCE_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way to ask, and what the ledger must say of it."""

    name: str
    model: str  # Script of the mock.
    weight: int
    stream: bool = False
    wants_usage: bool = False  # The client asks for a usage chunk itself.
    cancel_events: int = 0  # Leaves after so many content events.
    timeout_ms: int = 0  # Leaves after this time.
    half: bool = False  # Leaves in the middle of its own body.
    # `reported`: tokens as the mock stated them. `nothing`: no tokens, no cost. `estimated`: flagged as such. `clamped`: cut to
    # what was reserved; `cut` and `raised` without a reservation. `formula`: only tokens x price is held.
    expect: str = "formula"
    tokens: tuple = (0, 0, 0, 0)  # Input, output, cached, reasoning, as stated.
    limits: str = ""  # Lines of the route.


@dataclasses.dataclass
class Seen:
    """What the client knows of one request."""

    id: str
    scenario: Scenario
    status: int = 0
    cost: str | None = None
    events: int = 0
    content_bytes: int = 0
    usage: tuple | None = None
    whole: bool = False
    left: bool = False
    body_bytes: int = 0
    fields: dict = dataclasses.field(default_factory=dict)


class Cut(Exception):
    """The connection ended, or the scenario wants it to."""


class Connection:
    """One kept connection; requests go one after the other."""

    def __init__(self, address, key, routes):
        self.host, port = address.rsplit(":", 1)
        self.port, self.key, self.routes = int(port), key, routes
        self.reader = self.writer = None

    async def ask(self, request_id, scenario):
        seen = Seen(request_id, scenario)
        kept = False
        try:
            wait = scenario.timeout_ms / 1000 if scenario.timeout_ms else PATIENCE_SECONDS
            kept = await asyncio.wait_for(self._exchange(seen), wait)
        except asyncio.TimeoutError:
            seen.left = True
            if not scenario.timeout_ms:
                raise RuntimeError(f"{scenario.name} {request_id}: no answer in {PATIENCE_SECONDS} s") from None
        except (Cut, OSError, asyncio.IncompleteReadError, EOFError):
            pass
        if not kept:
            self.close()
        return seen

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def _exchange(self, seen):
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        scenario = seen.scenario
        body = {"model": self.routes[scenario.name], "messages": [{"role": "user", "content": "how much is it?"}]}
        if scenario.stream:
            body["stream"] = True
            if scenario.wants_usage:
                body["stream_options"] = {"include_usage": True}
        payload = json.dumps(body).encode()
        seen.body_bytes = len(payload)
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: books.test\r\nauthorization: Bearer {self.key}\r\n"
                f"x-request-id: {seen.id}\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n")
        if scenario.half:
            self.writer.write(head.encode() + payload[: len(payload) // 2])
            await self.writer.drain()
            await asyncio.sleep(0.02)
            seen.left = True
            raise Cut
        self.writer.write(head.encode() + payload)
        fields = await self._head(seen)
        if fields.get("transfer-encoding") == "chunked":
            await self._chunks(seen, fields)
        else:
            text = await self.reader.readexactly(int(fields.get("content-length", 0)))
            self._plain(seen, text)
        seen.whole = True
        return fields.get("connection") != "close"

    async def _head(self, seen):
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        seen.status = int(lines[0].split(" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        seen.cost = fields.get("x-millrace-cost-usd")
        seen.fields = {name: value for name, value in fields.items() if name.startswith("x-ratelimit-")}
        return fields

    async def _chunks(self, seen, fields):
        rest = b""
        is_stream = "event-stream" in fields.get("content-type", "")
        while True:
            size = int((await self.reader.readuntil(b"\r\n")).strip().split(b";")[0], 16)
            piece = await self.reader.readexactly(size + 2)
            if size == 0:
                if not is_stream:
                    self._plain(seen, rest)
                return
            rest += piece[:-2]
            if not is_stream:
                continue
            *events, rest = rest.replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                self._event(seen, event)

    def _plain(self, seen, text):
        try:
            seen.usage = usage_of(json.loads(text))
        except (ValueError, AttributeError):
            pass

    def _event(self, seen, event):
        payload = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
        if not payload.startswith(b"{"):
            return
        try:
            parsed = json.loads(payload, parse_float=str)
        except ValueError:
            return
        seen.usage = usage_of(parsed) or seen.usage
        seen.cost = (parsed.get("usage") or {}).get("cost", seen.cost)
        for choice in parsed.get("choices") or []:
            content = (choice.get("delta") or {}).get("content")
            if content:
                seen.events += 1
                seen.content_bytes += len(content.encode())
        if seen.scenario.cancel_events and seen.events >= seen.scenario.cancel_events:
            seen.left = True
            raise Cut


def usage_of(answer):
    """Input, output, cached and reasoning tokens, if an answer states them as whole numbers."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    tokens = (usage.get("prompt_tokens"), usage.get("completion_tokens"),
              (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
              (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0))
    return tokens if all(type(one) is int for one in tokens) else None


async def _drive(address, key, routes, scenarios, count, connections, seed):
    numbers = iter(range(count))
    weights = [scenario.weight for scenario in scenarios]
    book = []

    async def one(place):
        choose = random.Random(f"{seed}/{place}")
        connection = Connection(address, key, routes)
        for number in numbers:
            book.append(await connection.ask(f"book-{seed}-{number:07}", choose.choices(scenarios, weights)[0]))
            if len(book) % 20_000 == 0:
                print(f"  {len(book)} requests", flush=True)
        connection.close()

    await asyncio.gather(*(one(place) for place in range(connections)))
    return book


def drive(address, key, routes, scenarios, count, connections, seed):
    """Asks `count` times over so many connections: the client's own record of each request."""
    return asyncio.run(_drive(address, key, routes, scenarios, count, connections, seed))
