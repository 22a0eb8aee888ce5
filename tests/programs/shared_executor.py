"""A ThreadPoolExecutor for each call, with tasks that stay for a while: a pattern that can be patched."""
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def work(seconds):
    time.sleep(seconds)


def handle(seconds):
    executor = ThreadPoolExecutor(max_workers=4, thread_name_prefix="handle")
    return executor.submit(work, seconds)


pending = [handle(3600) for _ in range(int(sys.argv[1]))]
print("full", flush=True)
sys.stdin.read()
import os

os._exit(0)
