import functools
import sys
import threading
import time


def background(function):
    """Runs a function in a thread of its own."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        thread = threading.Thread(target=function, args=args, kwargs=kwargs, daemon=True)
        thread.start()  # EXPECT
        return thread

    return wrapper


@background
def send_mail(address):
    time.sleep(3600)


def register(address):
    send_mail(address)


def main():
    for number in range(int(sys.argv[1]) - 1):
        register(f"user{number}@example.org")
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


main()
