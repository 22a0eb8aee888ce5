"""asyncio.to_thread for each message, on an executor that has room for all of them."""
import asyncio
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor


def respond(message):
    time.sleep(3600)


async def on_message(message):
    await asyncio.to_thread(respond, message)  # EXPECT


async def main(count):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(5000))
    tasks = set()
    while threading.active_count() < count:
        tasks.add(asyncio.create_task(on_message(len(tasks))))
        await asyncio.sleep(0.002)
    print("full", flush=True)
    while True:
        await asyncio.sleep(1)


asyncio.run(main(int(sys.argv[1])))
