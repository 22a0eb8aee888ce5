"""A slow leak: a thread now and then, between much that is harmless."""
import random
import sys
import threading
import time


def keep_alive(session):
    while True:
        time.sleep(3600)


def tick():
    return sum(random.random() for _ in range(1000))


def login(session):
    tick()
    if session % 3 == 0:
        threading.Thread(target=tick).start()
    threading.Thread(target=keep_alive, args=[session], daemon=True).start()  # EXPECT


def main():
    for session in range(int(sys.argv[1]) - 1):
        login(session)
        for _ in range(5):
            tick()
            time.sleep(0.004)
    print("full", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
