"""Timers that are set faster than they go off, each a thread."""
import sys
import threading
import time


class Debouncer:
    def __init__(self, delay):
        self.delay = delay

    def touch(self, path):
        timer = threading.Timer(self.delay, self.flush, args=[path])
        timer.daemon = True
        timer.start()  # EXPECT

    def flush(self, path):
        self.touch(path)


debouncer = Debouncer(3600.0)
changed = 1
while changed < int(sys.argv[1]):
    debouncer.touch("/srv/file")
    changed += 1
    time.sleep(0.002)
print("full", flush=True)
sys.stdin.read()
