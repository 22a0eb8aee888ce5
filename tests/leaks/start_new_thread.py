import _thread
import sys
import time


def listen(channel):
    while True:
        time.sleep(3600)


def subscribe(channel):
    return _thread.start_new_thread(listen, (channel,))  # EXPECT


for channel in range(int(sys.argv[1]) - 1):
    subscribe(channel)
    time.sleep(0.002)
print("full", flush=True)
sys.stdin.read()
