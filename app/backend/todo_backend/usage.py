"""How often each route was asked, day by day: no users, no addresses, no texts. Only with ENABLE_ANALYTICS=true."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from todo_backend.logs import PROBE_PATHS

log = logging.getLogger(__name__)

_TABLE = "CREATE TABLE IF NOT EXISTS usage (day TEXT, route TEXT, count INTEGER, PRIMARY KEY (day, route))"
_COUNT = "INSERT INTO usage VALUES (?, ?, 1) ON CONFLICT (day, route) DO UPDATE SET count = count + 1"


class Usage:
    """Counts in a file of `folder` that replicas share and that outlives them; in memory where there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        self._lock = threading.Lock()
        self._connection = _open(folder / "usage.db") if folder is not None else _memory()

    def count(self, route: str) -> None:
        """The route was asked once more today."""
        try:
            with self._lock, self._connection as connection:
                connection.execute(_COUNT, (datetime.now(UTC).date().isoformat(), route))
        except sqlite3.Error as error:  # a full volume is no reason to fail a request that was answered
            log.warning("usage is not counted: %s", error)

    def counts(self) -> list[tuple[str, str, int]]:
        """Day, route, count; newest day first."""
        with self._lock, closing(self._connection.execute("SELECT * FROM usage ORDER BY day DESC, route")) as rows:
            return rows.fetchall()

    def close(self) -> None:
        self._connection.close()


class CountUsage:
    """Counts every request that a route answered, by the route's pattern; probes are none of the users' doing."""

    def __init__(self, app: ASGIApp, usage: Usage) -> None:
        self._app = app
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        pattern = getattr(scope.get("route"), "path", "").removeprefix("/api")  # everything is served at both places
        if scope["type"] == "http" and pattern and not pattern.endswith(PROBE_PATHS):
            await run_in_threadpool(self._usage.count, f"{scope['method']} {pattern}")


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, check_same_thread=False, timeout=5)
        connection.execute(_TABLE)
    except sqlite3.Error as error:
        log.warning("usage is counted in memory only: %s: %s", path, error)
        return _memory()
    return connection


def _memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute(_TABLE)
    return connection
