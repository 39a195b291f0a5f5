"""The application as a browser meets it: pages, cookies and JSON at the node's address, past every proxy."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT = 15.0


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str, url: str, body: Any = None, headers: dict[str, str] | None = None, timeout: float = _TIMEOUT
) -> Answer:
    """The answer on a connection of its own; redirects are not followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        content = json.dumps(body).encode() if body is not None else None
        words = {"Content-Type": "application/json"} if content is not None else {}
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, content, {**words, **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@dataclass
class Browser:
    """One person's browser at one frontend: it keeps the session's cookie and tells its origin."""

    origin: str
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, expect: int = 200) -> Any:
        headers = {
            "Origin": self.origin,
            "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
        }
        answer = request(method, self.origin + path, body, headers)
        assert answer.status == expect, f"{method} {path} answered {answer.status}: {answer.body[:500]!r}"
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.json() if answer.body else None

    def register(self, email: str, password: str) -> None:
        self.ask("POST", "/session/register", {"email": email, "password": password}, 201)

    def login(self, email: str, password: str) -> None:
        self.ask("POST", "/session/login", {"email": email, "password": password})

    def add(self, title: str) -> None:
        self.ask("POST", "/api/tasks", {"title": title}, 201)

    def tasks(self) -> dict[str, bool]:
        """Titles of the user's tasks, and whether they are completed."""
        return {task["title"]: task["completed"] for task in self.ask("GET", "/api/tasks")}

    def chat(self, message: str) -> Any:
        return self.ask("POST", "/api/chat", {"message": message})


def served_files(origin: str, start: str) -> dict[str, bytes]:
    """Everything of this origin that a browser gets on its way from the page, by path: what files name is got too."""
    found: dict[str, bytes] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        answer = request("GET", origin + path)
        if answer.status != 200:
            continue
        found[path] = answer.body
        text = answer.body.decode(errors="replace")
        named = re.findall(
            r"""["'(](?:\./)?(/?(?:_next/|assets/|static/)?[\w./\[\]%-]+\.(?:m?js|css|map|json|svg|ico|html))["')]""",
            text,
        )
        named += [f"/_next/{name}" for name in re.findall(r"""["'](static/[\w./\[\]%-]+)["']""", text)]
        waiting += [name if name.startswith("/") else f"/{name}" for name in named]
        waiting += [f"{path}.map"] if path.endswith(".js") else []
    return found


class Visitors:
    """While inside, some people ask for a URL all the time, each request on a new connection."""

    def __init__(self, url: str, people: int = 2, pause: float = 0.05) -> None:
        self.url = url
        self.asked = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        self.seconds = 0.0
        self._pause = pause
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(people)]

    def __enter__(self) -> Visitors:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_TIMEOUT + 5)
        self.seconds = time.monotonic() - self._begun

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.asked / self.seconds

    def _visit(self) -> None:
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                status = request("GET", self.url).status
                failure = "" if status == 200 else f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                failure = f"{type(error).__name__}: {error}"
            took = time.monotonic() - begun
            with self._lock:
                self.asked += 1
                self.slowest = max(self.slowest, took)
                if failure:
                    self.failures.append(f"{failure} after {took:.2f} s")
            self._over.wait(self._pause)


# Asks from within a pod, where a Service's own address is reached; ends when its standard input does.
_ASK = """
const http = require("http");
let asked = 0, over = false;
const failures = [];
process.stdin.on("data", () => {}).on("end", () => { over = true; });
const ask = () => new Promise((done) => {
  const request = http.get(process.argv[1], { agent: false, timeout: 10000 }, (answer) => {
    if (answer.statusCode !== 200) failures.push(`status ${answer.statusCode}`);
    answer.resume().on("close", done);
  });
  request.on("timeout", () => request.destroy(new Error("no answer")));
  request.on("error", (error) => { failures.push(error.message); done(); });
});
(async () => {
  while (!over) {
    asked += 1;
    await ask();
    await new Promise((done) => setTimeout(done, 50));
  }
  console.log(JSON.stringify({ asked, failures }));
  process.exit(0);
})();
"""


class InsideVisitor:
    """While inside, a pod of the cluster asks for a URL all the time; `words` run a program in that pod."""

    def __init__(self, words: Sequence[str], url: str) -> None:
        self.asked = 0
        self.failures: list[str] = []
        self._words = [*words, "node", "-e", _ASK, url]

    def __enter__(self) -> InsideVisitor:
        self._process = subprocess.Popen(
            self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        out, err = self._process.communicate(timeout=30)
        assert self._process.returncode == 0, err
        result = json.loads(out)
        self.asked, self.failures = result["asked"], result["failures"]
