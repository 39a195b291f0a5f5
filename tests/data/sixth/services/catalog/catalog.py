"""The library's catalog: books are read by everybody, and added by who has the token."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHELF = os.environ["SHELF_URL"].rstrip("/")
TOKEN = os.environ["API_TOKEN"]


def shelf(key: str, value: object = None) -> object:
    """The value of the key on the shelf, put there first where one is given."""
    data = json.dumps(value).encode() if value is not None else None
    request = urllib.request.Request(f"{SHELF}/{key}", data=data, method="PUT" if data else "GET")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


class Catalog(BaseHTTPRequestHandler):
    """`/books` of the library, and `/healthz`."""

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, {"status": "ok"})
        elif self.path == "/books":
            self.answer(200, {"schema": shelf("schema"), "books": shelf("books") or []})
        else:
            self.answer(404, {"error": "no such page"})

    def do_POST(self) -> None:
        book = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "no token, no book"})
            return
        books = [*(shelf("books") or []), book]
        self.answer(201, shelf("books", books))

    def answer(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *words: object) -> None:
        if self.path != "/healthz":
            print(format % words, flush=True)


def main() -> None:
    """Serves until it is told to end."""
    server = ThreadingHTTPServer(("", 9292), Catalog)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("the catalog is open", flush=True)
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
