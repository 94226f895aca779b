"""One provider and one gateway for all tests; each case runs directly and through the gateway."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import provider as scripted  # noqa: E402
from gateway import CHAT, EMBED, KEY, Gateway  # noqa: E402


class Side:
    """One way to the provider: its address, a key, and what the two models are called there."""

    def __init__(self, name, url, key, chat, embed):
        self.name, self.url, self.key, self.chat, self.embed = name, url, key, chat, embed


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
def direct(provider):
    return Side("direct", provider.url, scripted.KEY, scripted.MODEL, scripted.MODEL)


@pytest.fixture(scope="session")
def through(gateway):
    return Side("through", gateway.url, KEY, CHAT, EMBED)


@pytest.fixture
def same(direct, through):
    """Runs a case on both sides, asserts that they agree, and returns what both said."""

    def run(case):
        first, second = case(direct), case(through)
        assert second == first
        return first

    return run
