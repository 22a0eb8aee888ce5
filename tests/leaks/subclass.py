"""A subclass of Thread for each job."""

import sys
import threading
import time


class Worker(threading.Thread):
    def __init__(self, job):
        super().__init__(daemon=True, name=f"worker-{job}")
        self.job = job

    def run(self):
        while True:
            time.sleep(3600)


class Service:
    def __init__(self):
        self.jobs = 0

    def accept(self):
        self.jobs += 1
        worker = Worker(self.jobs)
        worker.start()  # EXPECT


def main():
    service = Service()
    while threading.active_count() < int(sys.argv[1]):
        service.accept()
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


main()
