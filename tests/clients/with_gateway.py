"""Runs a command beside a scripted provider and a gateway: with_gateway.py COMMAND...

It runs three times: through the plain port, and through the edge over HTTP/1.1 and over HTTP/2. The command finds both ends
in PROVIDER_URL, PROVIDER_KEY, PROVIDER_MODEL, GATEWAY_URL, GATEWAY_KEY, GATEWAY_CHAT, GATEWAY_EMBED and GATEWAY_TRANSCRIBE; through the edge
also the protocol to speak in GATEWAY_ALPN and the certificate to trust in NODE_EXTRA_CA_CERTS. The exit status is the first
of the command that is not 0.
"""

import os
import subprocess
import sys

import provider
from gateway import CHAT, EMBED, KEY, TRANSCRIBE, EdgeGateway, Gateway


def main():
    upstream = provider.Provider().start()
    gateway, edge = Gateway(upstream.url, provider.MODEL), EdgeGateway(upstream.url, provider.MODEL)
    trust = {"NODE_EXTRA_CA_CERTS": str(edge.authority)}
    try:
        for way, url, more in [
            ("plain port", gateway.url, {}),
            ("edge, HTTP/1.1", edge.url, {**trust, "GATEWAY_ALPN": "http/1.1"}),
            ("edge, HTTP/2", edge.url, {**trust, "GATEWAY_ALPN": "h2"}),
        ]:
            print(f"== {way}", flush=True)
            status = run({"GATEWAY_URL": url, **more}, upstream)
            if status != 0:
                return status
    finally:
        gateway.stop()
        edge.stop()
    return 0


def run(gateway, upstream):
    environment = {
        **os.environ,
        "PROVIDER_URL": upstream.url,
        "PROVIDER_KEY": provider.KEY,
        "PROVIDER_MODEL": provider.MODEL,
        "GATEWAY_KEY": KEY,
        "GATEWAY_CHAT": CHAT,
        "GATEWAY_EMBED": EMBED,
        "GATEWAY_TRANSCRIBE": TRANSCRIBE,
        **gateway,
    }
    status = subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    # A status below 0 is a signal; the shell's way of saying so is 128 more.
    return status if status >= 0 else 128 - status


sys.exit(main())
