"""An object with an executor of its own, made for each request."""
import concurrent.futures
import sys
import threading
import time

crawlers = []


class Crawler:
    def __init__(self, url):
        self.url = url
        self.executor = concurrent.futures.ThreadPoolExecutor(max_workers=2)

    def fetch(self, part):
        return f"{self.url}/{part}"

    def crawl(self):
        parts = []
        for part in ("head", "body"):
            parts.append(self.executor.submit(self.fetch, part))  # EXPECT
        return [part.result() for part in parts]


def handle(url):
    crawler = Crawler(url)
    crawlers.append(crawler)
    return crawler.crawl()


while threading.active_count() < int(sys.argv[1]):
    handle("http://localhost")
    time.sleep(0.004)
print("full", flush=True)
sys.stdin.read()
