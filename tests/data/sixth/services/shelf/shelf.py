"""A shelf: JSON values by key, each in a file."""

from __future__ import annotations

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ.get("SHELF_FOLDER", "/shelf"))


class Shelf(BaseHTTPRequestHandler):
    """`GET` and `PUT` of `/<key>`; `/-/ready` is always there."""

    def do_GET(self) -> None:
        file = FOLDER / f"{Path(self.path).name}.json"
        if self.path == "/-/ready":
            self.answer(200, b"{}")
        elif file.is_file():
            self.answer(200, file.read_bytes())
        else:
            self.answer(404, b"null")

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        draft = FOLDER / f".{Path(self.path).name}"
        draft.write_bytes(content)
        draft.replace(FOLDER / f"{Path(self.path).name}.json")
        self.answer(200, content)

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        pass


def main() -> None:
    """Serves until it is told to end."""
    server = ThreadingHTTPServer(("", 7070), Shelf)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
