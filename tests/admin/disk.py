"""A disk, watched beside the store: tells one that stalls from a store that does."""

import os
import threading
import time


class Disk(threading.Thread):
    """Syncs a file in this folder now and then until the process ends; remembers how long each sync took."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.path, self.times = folder / "sync", []

    def run(self):
        with open(self.path, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
                began = time.monotonic()
                os.fsync(file.fileno())
                self.times.append(time.monotonic() - began)
                time.sleep(0.25)
