"""A lambda as target, and another harmless one beside it."""
import sys
import threading
import time


def notify(user, text):
    time.sleep(3600)


def log(text):
    time.sleep(3600)


def on_event(user):
    threading.Thread(target=lambda: notify(user, "hello"), daemon=True).start()  # EXPECT


def on_start():
    threading.Thread(target=lambda: log("started"), daemon=True).start()


def main(count):
    on_start()
    for user in range(count - 2):
        on_event(user)
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
