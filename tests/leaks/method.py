import sys
import threading
import time


class Monitor:
    """Looks after one host; forgets its thread."""

    def __init__(self, host):
        self.host = host
        self._thread = None

    def _loop(self):
        while True:
            time.sleep(3600)

    def begin(self):
        self._thread = threading.Thread(
            target=self._loop,
            name="monitor",
            daemon=True,
        )
        self._thread.start()  # EXPECT
        return self


class Monitors:
    def __init__(self):
        self.all = {}

    def refresh(self, hosts):
        # Replaces the old one, whose thread runs on.
        self.all = {host: Monitor(host).begin() for host in hosts}


def main():
    monitors = Monitors()
    while threading.active_count() < int(sys.argv[1]):
        monitors.refresh(["alpha"])
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


main()
