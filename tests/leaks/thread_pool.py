"""A multiprocessing.pool.ThreadPool for each batch, kept and never closed."""
import sys
import threading
import time
from multiprocessing.pool import ThreadPool

pools = []


def resize(image):
    return image


def batch(images):
    pool = ThreadPool(3)  # EXPECT
    pools.append(pool)
    return pool.map(resize, images)


def main():
    while threading.active_count() < int(sys.argv[1]):
        batch([1, 2, 3])
        time.sleep(0.005)
    print("full", flush=True)
    sys.stdin.readline()
    import os

    os._exit(0)


main()
