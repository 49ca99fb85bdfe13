#!/usr/bin/env python3
"""A small web shop: counts its visits in Redis. Nothing but the standard library.

GET /        one more visit
GET /ready   200 once it serves
GET /live    200 while it serves
"""

import argparse
import json
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REDIS_TIMEOUT = 1.0  # seconds; a visitor does not wait longer for a counter


class RedisError(Exception):
    """Redis did not answer, or not what was asked for."""


def redis(port, *words):
    """Sends one command in Redis's own protocol and returns the answer, which has to fit one line."""
    request = b"*%d\r\n" % len(words)
    for word in words:
        data = word.encode()
        request += b"$%d\r\n%s\r\n" % (len(data), data)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=REDIS_TIMEOUT) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                line = answer.readline(1024).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RedisError(f"redis on port {port}: {error}") from error
    if not line or line[0] not in "+:":
        raise RedisError(f"redis on port {port} said {line!r}")
    return line[1:]


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path in ("/ready", "/live"):
            self.answer(200, {"ok": True})
        elif self.path == "/":
            try:
                self.answer(200, {"visits": int(redis(self.server.redis_port, "INCR", "visits"))})
            except RedisError as error:
                self.answer(503, {"error": str(error)})
        else:
            self.answer(404, {"error": "there is only /"})

    def answer(self, status, body):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code="-", size="-"):
        # Probes ask every few seconds; only visits are worth a line.
        if self.path not in ("/ready", "/live"):
            print(f"{self.command} {self.path} {getattr(code, 'value', code)}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--redis-port", type=int, required=True)
    options = arguments.parse_args()

    try:
        answer = redis(options.redis_port, "PING")
    except RedisError as error:
        sys.exit(f"failed to greet {error}")
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Shop)
    server.daemon_threads = True
    server.redis_port = options.redis_port
    # `shutdown` waits for the loop below to end, so another thread has to call it.
    stop = lambda *_: threading.Thread(target=server.shutdown).start()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"redis said {answer}; open on port {options.port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    print("closed", flush=True)


if __name__ == "__main__":
    main()
