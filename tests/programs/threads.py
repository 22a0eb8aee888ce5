"""A pool of Python threads that obeys like pool.h says."""

import os
import sys
import threading

read_end, write_end = os.pipe()
threading.stack_size(128 << 10)


def worker():
    os.read(read_end, 1)


has = 1
for line in sys.stdin:
    order, _, number = line.strip().partition(" ")
    if order == "end":
        break
    wanted = int(number)
    while has < wanted:
        threading.Thread(target=worker, daemon=True).start()
        has += 1
    if has > wanted:
        os.write(write_end, b"x" * (has - wanted))
        has = wanted
    while len(os.listdir("/proc/self/task")) != wanted:
        os.sched_yield()
    print(wanted, flush=True)
os._exit(0)
