"""Each thread starts the next one."""
import sys
import threading
import time

WANTED = int(sys.argv[1])


def relay(hop):
    time.sleep(0.002)
    if hop < WANTED:
        successor = threading.Thread(target=relay, args=(hop + 1,), daemon=True)
        successor.start()  # EXPECT
    else:
        print("full", flush=True)
    while True:
        time.sleep(3600)


first = threading.Thread(target=relay, args=(2,), daemon=True)
first.start()
sys.stdin.read()
