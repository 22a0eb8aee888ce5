"""What a monitor does that polls: all processes, every INTERVAL seconds, by psutil.

Says which ones of that name have at least so many threads, once each, with the time (CLOCK_BOOTTIME, ns).
"""

import sys
import time

import psutil

INTERVAL, NAME, THREADS = float(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = set()
print("ready", flush=True)
while True:
    for process in psutil.process_iter(["pid", "ppid", "name", "uids", "num_threads", "create_time"]):
        found = process.info
        key = (found["pid"], found["create_time"])
        if found["name"] == NAME and (found["num_threads"] or 0) >= THREADS and key not in seen:
            seen.add(key)
            print(found["pid"], time.clock_gettime_ns(time.CLOCK_BOOTTIME), flush=True)
    time.sleep(INTERVAL)
