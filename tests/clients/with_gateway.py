"""Runs a command beside a scripted provider and a gateway: with_gateway.py COMMAND...

The command finds them in PROVIDER_URL, PROVIDER_KEY, PROVIDER_MODEL, GATEWAY_URL, GATEWAY_KEY, GATEWAY_CHAT and
GATEWAY_EMBED. The exit status is that of the command.
"""

import os
import subprocess
import sys

import provider
from gateway import CHAT, EMBED, KEY, Gateway


def main():
    upstream = provider.Provider().start()
    gateway = Gateway(upstream.url, provider.MODEL)
    environment = {
        **os.environ,
        "PROVIDER_URL": upstream.url,
        "PROVIDER_KEY": provider.KEY,
        "PROVIDER_MODEL": provider.MODEL,
        "GATEWAY_URL": gateway.url,
        "GATEWAY_KEY": KEY,
        "GATEWAY_CHAT": CHAT,
        "GATEWAY_EMBED": EMBED,
    }
    try:
        status = subprocess.run(sys.argv[1:], env=environment, check=False).returncode
    finally:
        gateway.stop()
    # A status below 0 is a signal; the shell's way of saying so is 128 more.
    return status if status >= 0 else 128 - status


sys.exit(main())
