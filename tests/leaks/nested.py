import sys
from threading import Thread
from time import sleep


def watch_all(paths):
    """Starts a watcher for each path."""

    def watcher(path):
        def reload():
            sleep(3600)

        while True:
            reload()

    for path in paths:
        Thread(target=watcher, args=(path,), daemon=True).start()  # EXPECT
        sleep(0.002)


def main():
    watch_all([f"/srv/{n}" for n in range(int(sys.argv[1]) - 1)])
    print("full", flush=True)
    sys.stdin.readlines()


main()
