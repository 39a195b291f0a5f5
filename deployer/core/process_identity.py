"""Who is at work: the identity a run leaves where others must wait for it, and whether that run is still there."""

from __future__ import annotations

import getpass
import os
import re
import socket

_IDENTITY = re.compile(r"@(?P<host>\S+) pid (?P<pid>\d+) run \S+")


def user_and_host() -> str:
    """`user@host`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def identity(run: str) -> str:
    """The run's identity, by which another process of this host can tell whether it still lives."""
    return f"{user_and_host()} pid {os.getpid()} run {run}"


def is_gone(text: str) -> bool | None:
    """Whether the run whose identity the text holds has ended; None where that cannot be told from this host."""
    found = _IDENTITY.search(text)
    if found is None or found["host"] != socket.gethostname():
        return None
    return has_ended(int(found["pid"]))


def has_ended(pid: int) -> bool:
    """Whether no other process has this number any more: our own was somebody's who died before."""
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
