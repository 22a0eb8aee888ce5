import sys
import threading
import time
from concurrent import futures


class Request:
    def __init__(self, number):
        self.number = number

    def answer(self):
        time.sleep(3600)


class Handler:
    def handle(self, request):
        pool = futures.ThreadPoolExecutor(1, thread_name_prefix="request")
        return pool.submit(request.answer)  # EXPECT


def serve(handler, count):
    pending = []
    for number in range(count - 1):
        pending.append(handler.handle(Request(number)))
        time.sleep(0.002)
    return pending


serve(Handler(), int(sys.argv[1]))
print("full", flush=True)
while sys.stdin.readline():
    pass
import os

os._exit(0)
