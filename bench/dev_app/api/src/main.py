"""Answers every request with MESSAGE of message.py; a hang-up signal makes it read that anew, if it can."""

import importlib
import signal
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

import message  # type: ignore[import-not-found] # beside it in the container


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = message.MESSAGE.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


def reload(number: int, frame: FrameType | None) -> None:
    """What cannot be read is reported, and what was read before serves on."""
    try:
        importlib.reload(message)
    except Exception:
        traceback.print_exc()


signal.signal(signal.SIGHUP, reload)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
