"""A test run: `testrun.py WORKERS THREADS`, worker processes with threads that all compute. It says "ready" when all of
them are there, and ends them when a line comes on stdin."""

import os
import signal
import sys
import threading


def work():
    while True:
        sum(range(1000))


def worker(threads, ready):
    for _ in range(threads - 1):
        threading.Thread(target=work, daemon=True).start()
    os.write(ready, b".")
    work()


def main():
    workers, threads = map(int, sys.argv[1:])
    heard, ready = os.pipe()
    pids = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            worker(threads, ready)
        pids.append(pid)
    there = 0
    while there < workers:
        there += len(os.read(heard, workers))
    print("ready", flush=True)
    sys.stdin.readline()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


main()
