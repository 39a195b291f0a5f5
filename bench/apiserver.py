"""A Kubernetes API server that only lists a synthetic crowd, and counts what it was asked: `python -m …apiserver`."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench.crowd import Crowd, objects

EMPTY = b'{"kind": "List", "items": []}'
KINDS = ("deployments", "replicasets", "pods", "events")


class Server(ThreadingHTTPServer):
    """Serves the crowd from its first request on; `asked` counts requests by what they were for.

    The lists of every second are made before, so that the server answers as quickly as the real one.
    """

    daemon_threads = True

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.began: float | None = None
        made = time.time()
        self.seconds = int(crowd.seconds) + 2
        self.lists = {
            kind: [_encoded(crowd, kind, made, made + second) for second in range(self.seconds)] for kind in KINDS[:3]
        }
        self.lists["events"] = [_encoded(crowd, "events", made, made)]
        self.asked: dict[str, int] = {}
        self.bytes = 0
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    server: Server

    def do_GET(self) -> None:
        path, query = (parts := urllib.parse.urlsplit(self.path)).path, urllib.parse.parse_qs(parts.query)
        if path == "/counted":
            self._answer({"asked": self.server.asked, "bytes": self.server.bytes})
            return
        if path.endswith("/log"):
            self._count("logs")
            self._answer_bytes(b"listening on :8000\n", "text/plain")
            return
        kind = path.rpartition("/")[2]
        self._count("watches" if "watch" in query else "summary" if "/proxy/" in path else kind)
        now = time.time()
        self.server.began = self.server.began or now
        lists = self.server.lists.get(kind, [EMPTY])
        # Nothing changes while it is watched, and of a healthy start no telling event is left.
        if "watch" in query or "reason!=Started" in query.get("fieldSelector", [""])[0]:
            lists = [EMPTY]
        self._answer_bytes(lists[min(int(now - self.server.began), len(lists) - 1)], "application/json")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed on standard error."""

    def _count(self, what: str) -> None:
        self.server.asked[what] = self.server.asked.get(what, 0) + 1

    def _answer(self, document: Any) -> None:
        self._answer_bytes(json.dumps(document).encode(), "application/json")

    def _answer_bytes(self, body: bytes, kind: str) -> None:
        self.server.bytes += len(body)
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _encoded(crowd: Crowd, kind: str, began: float, now: float) -> bytes:
    return json.dumps({"kind": "List", "items": objects(crowd, kind, began, now)}).encode()


if __name__ == "__main__":
    workloads, pods, seconds = sys.argv[1:]
    server = Server(Crowd(int(workloads), int(pods), float(seconds)))
    print(server.server_address[1], flush=True)
    server.serve_forever()
