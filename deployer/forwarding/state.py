"""What is forwarded, in a file of the deployment's folder: the process lives as long as the file names it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from deployer.core.files import write_private
from deployer.core.ports import LocalPorts
from deployer.core.process_identity import has_ended, start_time
from deployer.core.reading import Malformed, read_json

LOG = "forward.log"
_STATE, _PID = "forward.json", "forward.pid"


@dataclass(frozen=True, slots=True)
class Door:
    """A port of this machine that leads to a Service of the cluster, or to its ingress where `service` is empty."""

    namespace: str
    service: str
    port: str
    local: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What it leads to."""
        return self.namespace, self.service, self.port

    @property
    def target(self) -> str:
        """What it leads to, for people."""
        return f"{self.namespace}/{self.service}" if self.service else "ingress"


def local_ports(doors: Iterable[Door]) -> LocalPorts:
    """The local ports by what they lead to."""
    return {door.key: door.local for door in doors}


@dataclass(frozen=True, slots=True)
class Written:
    """The file: whose process it is, which cluster it leads to, and through which doors."""

    token: str
    program: str
    kubeconfig: str
    provider: str
    cluster: str
    doors: tuple[Door, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What is forwarded for a deployment, and the process that does it; `pid` is None where it does not run."""

    doors: tuple[Door, ...] = ()
    pid: int | None = None

    @property
    def local(self) -> LocalPorts:
        """The local ports by what they lead to."""
        return local_ports(self.doors)


NOTHING = Known()
"""Nothing is forwarded."""


def known(folder: Path) -> Known:
    """What is forwarded for the deployment that keeps its things in the folder."""
    written = read(folder)
    return NOTHING if written is None else Known(written.doors, running(folder))


def read(folder: Path) -> Written | None:
    """The file's content; None where there is none that can be read."""
    try:
        return read_json(folder / _STATE, Written)
    except (OSError, Malformed):
        return None


def write(folder: Path, program: str, kubeconfig: str, provider: str, cluster: str, doors: Sequence[Door]) -> Written:
    """The file says this, with a token of its own: the process of an earlier token ends. Raises OSError."""
    written = Written(secrets.token_hex(8), program, kubeconfig, provider, cluster, tuple(doors))
    write_private(folder / _STATE, json.dumps(asdict(written), indent=1))
    return written


def forget(folder: Path) -> None:
    """There is no file: whatever process served it ends by itself."""
    (folder / _STATE).unlink(missing_ok=True)


def running(folder: Path) -> int | None:
    """The supervisor's process id while it holds its file; None where nothing runs.

    A file that is left of a process whose number another one has by now names nobody.
    """
    path = folder / _PID
    try:
        with path.open("r+") as stream:
            if _locked(stream):
                return None
            stream.seek(0)
            pid, _, started = stream.read().partition(" ")
            return None if has_ended(int(pid), started) and int(pid) != os.getpid() else int(pid)
    except (OSError, ValueError):
        return None


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Inside, this process is the deployment's supervisor; False where another one is."""
    with (folder / _PID).open("a+") as stream:
        # Whoever looks whether a supervisor runs holds the lock for a moment.
        held, deadline = _locked(stream), time.monotonic() + 2
        while not held and time.monotonic() < deadline:
            time.sleep(0.05)
            held = _locked(stream)
        if held:
            stream.truncate(0)
            stream.write(f"{os.getpid()} {start_time(os.getpid())}")
            stream.flush()
        yield held
        if held:
            with suppress(OSError):
                stream.truncate(0)


def _locked(stream: IO[str]) -> bool:
    """Whether the lock on the file is ours now: the kernel takes it back from the dead."""
    try:
        import fcntl
    except ImportError:  # no such locks: a process id that was written is believed
        stream.seek(0)
        return not stream.read().strip()
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
