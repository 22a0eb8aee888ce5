import sys
import threading
import time


def poll(address):
    while True:
        time.sleep(3600)


def heartbeat():
    while True:
        time.sleep(3600)


threading.Thread(target=heartbeat, daemon=True).start()

threads = []
for port in range(int(sys.argv[1]) - 2):
    t = threading.Thread(target=poll, args=(("localhost", port),))
    t.daemon = True
    threads.append(t)
    t.start()  # EXPECT
    time.sleep(0.002)

print("full", flush=True)
sys.stdin.read()
