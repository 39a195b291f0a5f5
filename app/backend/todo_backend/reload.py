"""`python -m todo_backend.reload` serves in development; `… reload now` makes it serve the sources as they are by then.

A new process takes the place of the one that serves once it is ready: one that does not start is reported, and the old
one serves on. It starts fast, for it is a fork of a process that has imported all libraries already.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

CONTROL = os.environ.get("RELOAD_SOCKET", "/tmp/todo-backend.reload")
READY_SECONDS = 20.0
MIGRATED_SECONDS = 5.0
"""So long the old process serves on where the database is away."""
_LATE = (
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
)
"""What uvicorn itself imports only when it starts to serve."""


class Supervisor:
    """Has the port, and one process that serves on it."""

    def __init__(self, address: socket.socket) -> None:
        self._address = address
        self._serving = 0
        self._leaving: list[int] = []
        self._stopping = False

    def start(self, *, anew: bool) -> str:
        """Why the sources cannot serve; empty once they do, and the process before them is told to end.

        They are those that were imported already, or `anew` as they are now.
        """
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if anew:
                _forget()
            os._exit(_serve(self._address, write))
        os.close(write)
        answer = _read(read)
        os.close(read)
        if answer != "ready":
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return answer or "it ended before it was ready"
        if self._serving:
            self._leaving.append(self._serving)
            with suppress(ProcessLookupError):
                os.kill(self._serving, signal.SIGINT)  # at once: two versions side by side would answer in turn
        self._serving = child
        return ""

    def run(self, control: socket.socket) -> int:
        """Serves until SIGTERM, or until the process that serves ends by itself."""
        signal.signal(signal.SIGTERM, self._stop)
        print(self.start(anew=False) or "serving; `python -m todo_backend.reload now` takes new sources", flush=True)
        while not self._stopping:
            ready, _, _ = select.select([control], [], [], 0.5)
            if ready:
                asked, _ = control.accept()
                with asked:
                    failure = self.start(anew=True)
                    print(failure, end="", file=sys.stderr, flush=True)
                    asked.sendall(failure.encode())
                    asked.shutdown(socket.SHUT_RDWR)  # the new process has a copy of it, so that closing ends nothing
            self._leaving = [child for child in self._leaving if not os.waitpid(child, os.WNOHANG)[0]]
            if self._serving and os.waitpid(self._serving, os.WNOHANG)[0]:
                return 1
        if self._serving:
            os.kill(self._serving, signal.SIGTERM)
            os.waitpid(self._serving, 0)
        return 0

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True


def _serve(address: socket.socket, ready: int) -> int:
    """The sources as they are now serve; the parent is told that they do, or why not."""
    try:
        import asyncio  # not by who only asks: it takes longer than the rest

        import uvicorn

        from todo_backend import logs
        from todo_backend.app import create_app
        from todo_backend.settings import Settings

        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level, settings.secrets)
        app = create_app(settings)
        lifecycle = app.state.lifecycle

        async def when_migrated(scope: Any, receive: Any, send: Any) -> None:
            async def told(message: Any) -> None:
                if message["type"] == "lifespan.startup.complete":
                    for _ in range(int(MIGRATED_SECONDS / 0.02)):
                        if lifecycle.migrated:
                            break
                        await asyncio.sleep(0.02)
                await send(message)

            await app(scope, receive, told if scope["type"] == "lifespan" else send)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                os.write(ready, b"ready" if self.started else b"it did not start; its log says why")
                os.close(ready)

        config = uvicorn.Config(
            when_migrated, log_config=None, server_header=False, forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_graceful_shutdown=2, lifespan="on",
        )  # fmt: skip
        Server(config).run(sockets=[address])
    except KeyboardInterrupt:
        return 0
    except BaseException:
        with suppress(OSError):
            os.write(ready, traceback.format_exc(limit=-4).encode())
        return 1
    return 0


def _read(pipe: int) -> str:
    """What the child says, at most so late."""
    if not select.select([pipe], [], [], READY_SECONDS)[0]:
        return f"it was not ready after {READY_SECONDS:g} s"
    return os.read(pipe, 65536).decode(errors="replace")


def _import() -> None:
    """All libraries are imported, and the sources as the first process serves them."""
    gc.disable()  # nothing of it is garbage, and looking for some takes a fifth of the time
    with suppress(Exception):  # the first process says what is wrong with the sources
        for name in (*_LATE, "todo_backend.app"):
            importlib.import_module(name)
    gc.freeze()
    gc.enable()


def _forget() -> None:
    """Nothing of the sources is imported: whoever imports them next reads them anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "todo_backend"]:
        del sys.modules[name]


def _ask() -> int:
    """1, and why on standard error, where the sources cannot serve."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(CONTROL)
        failure = b"".join(iter(lambda: control.recv(65536), b"")).decode(errors="replace")
    print(failure, end="", file=sys.stderr)
    return 1 if failure else 0


def main(words: list[str]) -> int:
    """Serves, or with `now` asks the process that does so to take new sources."""
    if words == ["now"]:
        return _ask()
    place = os.environ.get("BACKEND_HOST") or "0.0.0.0", int(os.environ.get("BACKEND_PORT") or 8000)
    address = socket.create_server(place, backlog=512)  # first, so that a probe waits and need not come again
    _import()
    with suppress(FileNotFoundError):
        os.unlink(CONTROL)
    control = socket.socket(socket.AF_UNIX)
    control.bind(CONTROL)
    control.listen()
    return Supervisor(address).run(control)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
