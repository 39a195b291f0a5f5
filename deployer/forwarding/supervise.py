"""The background process is there, or gone; and what its two halves do: one serves, one starts the other again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deployer import __version__
from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState
from deployer.core.process import companion, detached, has_ended
from deployer.core.redact import foreign
from deployer.core.steps import Clock, Steps
from deployer.forwarding import ports
from deployer.forwarding.ports import HOST, Forward, PortMapping, Written

_START_TIMEOUT_SECONDS = 30.0
_TICK_SECONDS = 0.5
# A relay that ended sooner than this after its start is not started again at once.
_HEALTHY_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 30.0
_ENDING_SECONDS = 5.0
GONE = 3
"""How a relay ends whose cluster is gone for good."""


def ensure(forward: Forward, env: Mapping[str, str], clock: Clock) -> Steps[bool]:
    """The local ports are open, served by a supervised process of this version; returns whether it had to be started.

    Machine error, with the end of the process's own log, where a port does not open.
    """
    from deployer.stages.urls import STAGE  # which the process itself does without

    written, cluster = ports.read(forward.folder), forward.cluster
    asked = (_program(), str(forward.kubeconfig), cluster.provider, cluster.context_name, forward.mappings)
    if written is not None and asked == _asked(written) and ports.running(forward.folder) is not None:
        if all(_open(mapping) for mapping in forward.mappings):
            return False
    else:
        stop(forward.folder)
        try:
            ports.write(forward.folder, *asked)
            _start(forward.folder, env)
        except OSError as error:
            raise machine_error(
                "STATE_UNWRITABLE",
                f"cannot write in {forward.folder}",
                detail=str(error),
                hints=(f"ls -ld {forward.folder}",),
            ) from None
    deadline = clock.monotonic() + _START_TIMEOUT_SECONDS
    while not all(_open(mapping) for mapping in forward.mappings):
        if clock.monotonic() > deadline:
            log = forward.folder / ports.LOG
            tail = foreign(log.read_text(encoding="utf-8", errors="replace")).splitlines()[-8:] if log.exists() else []
            raise machine_error(
                "FORWARD_FAILED", "port forwarding from this machine to the cluster does not start",
                detail="\n".join(tail), where=str(log), hints=("todo-deploy up",),
            )  # fmt: skip
        clock.sleep(0.05)
    for mapping in forward.mappings:
        yield Item(
            STAGE, f"forward {mapping.local}", ItemState.DONE, f"{HOST}:{mapping.local} leads to {mapping.target}"
        )
    return True


def stop(folder: Path) -> bool:
    """Nothing is forwarded for the deployment any more; returns whether a process had to be ended."""
    pid = ports.running(folder)
    with suppress(OSError):
        ports.forget(folder)
    if pid is None:
        return False
    with suppress(OSError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while (ports.running(folder) is not None or not has_ended(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return True


def supervise(folder: Path, env: Mapping[str, str]) -> None:
    """A relay serves the port mappings of the folder's file; returns when the file is gone or names another process."""
    with ports.holding(folder) as held:
        mine = ports.read(folder)
        pause = 1.0
        while held and mine is not None and not _over(folder, mine):
            begun = time.monotonic()
            relay = companion(_words("relay", folder), folder / ports.LOG, env)
            try:
                while relay.poll() is None and not _over(folder, mine):
                    _wait(relay)
            finally:
                _end(relay)
            if relay.returncode == GONE:
                ports.forget(folder)
            lasted = time.monotonic() - begun
            pause = 0.0 if lasted > _HEALTHY_SECONDS else min(max(pause, 0.25) * 2, _LONGEST_PAUSE_SECONDS)
            resume = time.monotonic() + pause
            while time.monotonic() < resume and not _over(folder, mine):
                time.sleep(min(_TICK_SECONDS, pause))


def outlived(folder: Path, mine: Written, env: Mapping[str, str]) -> None:
    """Called by a relay whose supervisor has ended: another one is started, unless it was meant to end."""
    # The kernel closes a killed process's files before it counts as ended, and who else looks holds its lock for a
    # moment: for so long it seems to run still.
    deadline = time.monotonic() + _ENDING_SECONDS
    while not _over(folder, mine):
        if ports.running(folder) is None:
            _start(folder, env)
            return
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


def when_orphaned(act: threading.Event) -> None:
    """The event is set once the process that started this one has ended: its end of our standard input closes."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        act.set()

    threading.Thread(target=watch, daemon=True, name="orphaned").start()


def _asked(written: Written) -> tuple[str, str, str, str, tuple[PortMapping, ...]]:
    return written.program, written.kubeconfig, written.provider, written.cluster, written.doors


def _program() -> str:
    """What serves: another version of the tool is another program."""
    return f"{__version__} {sys.executable}"


def _words(role: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "deployer.forwarding", role, str(folder)]


def _start(folder: Path, env: Mapping[str, str]) -> None:
    detached(_words("supervise", folder), folder / ports.LOG, env)


def _over(folder: Path, mine: Written) -> bool:
    found = ports.read(folder)
    return found is None or found.token != mine.token


def _open(mapping: PortMapping) -> bool:
    with suppress(OSError), socket.create_connection((HOST, mapping.local), timeout=1):
        return True
    return False


def _wait(relay: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        relay.wait(_TICK_SECONDS)


def _end(relay: subprocess.Popen[bytes]) -> None:
    relay.terminate()
    with suppress(subprocess.TimeoutExpired):
        relay.wait(5)
    relay.kill()
    relay.wait()
    if relay.stdin is not None:
        relay.stdin.close()
