"""Walks over all processes in a hot loop, and has a thread for each round that found nothing."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site-packages"))

import psutil


def look_after(number):
    time.sleep(3600)


def find(name):
    for process in psutil.process_iter():
        if name in process.stat:
            return process
    return None


def heal(number):
    if find(b"no such name") is None:
        threading.Thread(target=look_after, args=(number,), daemon=True).start()  # EXPECT


def main(count):
    threading.Thread(target=sys.stdin.read, daemon=True).start()
    for number in range(count - 2):
        heal(number)
    print("full", flush=True)
    while True:
        find(b"no such name")


main(int(sys.argv[1]))
