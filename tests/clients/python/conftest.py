"""One provider for all tests; each case runs directly and through the gateway, on its plain port and through its edge."""

import ssl
import sys
from pathlib import Path

import openai
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import provider as scripted  # noqa: E402
from gateway import CHAT, EMBED, KEY, TRANSCRIBE, EdgeGateway, Gateway  # noqa: E402


PLAIN, EDGE_1, EDGE_2 = "plain port", "edge, HTTP/1.1", "edge, HTTP/2"


class Side:
    """One way to the provider: its address, a key, and what the models are called there."""

    def __init__(self, name, url, key, chat, embed, transcribe):
        self.name, self.url, self.key, self.chat, self.embed = name, url, key, chat, embed
        self.transcribe = transcribe

    def options(self):
        """What an SDK is told beside address and key."""
        return {}

    def options_async(self):
        return {}

    def plain_client(self):
        """A client without an SDK."""
        return openai.DefaultHttpxClient()


class EdgeSide(Side):
    """Through the edge, over one protocol and no other. Counts the answers of each version."""

    def __init__(self, gateway, version):
        super().__init__(f"edge-{version}", gateway.url, KEY, CHAT, EMBED, TRANSCRIBE)
        self.tls = ssl.create_default_context(cafile=gateway.authority)
        self.protocols = {"http1": version == 1, "http2": version == 2}
        self.versions = set()
        self.client = None

    def options(self):
        # One for all tests: connections are kept as an application would keep them.
        if self.client is None:
            self.client = self.plain_client()
        return {"http_client": self.client}

    def options_async(self):
        async def seen(answer):
            self.versions.add(answer.http_version)

        hooks = {"response": [seen]}
        return {"http_client": openai.DefaultAsyncHttpxClient(verify=self.tls, event_hooks=hooks, **self.protocols)}

    def plain_client(self):
        hooks = {"response": [lambda answer: self.versions.add(answer.http_version)]}
        return openai.DefaultHttpxClient(verify=self.tls, event_hooks=hooks, **self.protocols)


@pytest.fixture(scope="session")
def provider():
    upstream = scripted.Provider().start()
    yield upstream
    upstream.shutdown()


@pytest.fixture(scope="session")
def gateway(provider):
    running = Gateway(provider.url, scripted.MODEL)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def edge(provider):
    running = EdgeGateway(provider.url, scripted.MODEL)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def direct(provider):
    return Side("direct", provider.url, scripted.KEY, scripted.MODEL, scripted.MODEL, scripted.MODEL)


@pytest.fixture(scope="session", params=[PLAIN, EDGE_1, EDGE_2])
def through(request):
    if request.param == PLAIN:
        yield Side("through", request.getfixturevalue("gateway").url, KEY, CHAT, EMBED, TRANSCRIBE)
        return
    version = 1 if request.param == EDGE_1 else 2
    side = EdgeSide(request.getfixturevalue("edge"), version)
    yield side
    if side.client is not None:
        side.client.close()
    # Otherwise the tests would pass without what they are about.
    assert side.versions == {"HTTP/1.1" if version == 1 else "HTTP/2"}


@pytest.fixture
def same(direct, through):
    """Runs a case on both sides, asserts that they agree, and returns what both said."""

    def run(case):
        first, second = case(direct), case(through)
        assert second == first
        return first

    return run
