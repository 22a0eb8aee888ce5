"""Watches files with a package like watchdog: two threads and an inotify descriptor for each call."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "site-packages"))

from watchlib import Observer


class ConfigFile:
    def reload_on_change(self, path):
        observer = Observer()
        observer.schedule(self, path)
        observer.start()  # EXPECT


def main(count):
    config = ConfigFile()
    while threading.active_count() < count:
        config.reload_on_change("/tmp")
        time.sleep(0.004)
    print("full", flush=True)
    sys.stdin.read()


main(int(sys.argv[1]))
