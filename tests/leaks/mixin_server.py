"""A thread for each request, and requests that never end."""
import socket
import socketserver
import sys
import threading
import time


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        time.sleep(3600)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


def clients(address, count):
    kept = []
    while threading.active_count() < count:
        kept.append(socket.create_connection(address))
        time.sleep(0.002)
    print("full", flush=True)
    sys.stdin.read()


def main():
    server = Server(("127.0.0.1", 0), Handler)
    feeder = threading.Thread(target=clients, args=(server.server_address, int(sys.argv[1])))
    feeder.start()
    server.serve_forever()  # EXPECT


main()
