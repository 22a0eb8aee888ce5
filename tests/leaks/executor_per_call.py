"""A ThreadPoolExecutor for each call, and none is shut down."""
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

KEPT = []


def scan(item):
    return item * 2


def process(items):
    executor = ThreadPoolExecutor(max_workers=4)
    KEPT.append(executor)
    futures = [executor.submit(scan, item) for item in items]  # EXPECT
    return [future.result() for future in futures]


while threading.active_count() < int(sys.argv[1]):
    process(range(8))
    time.sleep(0.005)
print("full", flush=True)
sys.stdin.read()
