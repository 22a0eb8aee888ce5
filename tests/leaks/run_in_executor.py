"""An event loop for each call; each has an executor of its own that is not shut down."""
import asyncio
import sys
import threading
import time

LOOPS = []


def blocking_query(sql):
    return len(sql)


async def query(sql):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, blocking_query, sql)  # EXPECT


def query_now(sql):
    loop = asyncio.new_event_loop()
    LOOPS.append(loop)
    return loop.run_until_complete(query(sql))


def main():
    while threading.active_count() < int(sys.argv[1]):
        query_now("select 1")
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


main()
