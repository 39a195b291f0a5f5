"""Who is at work: the identity a run leaves where others must wait for it, and whether that run is still there.

A number alone names no process: another machine may have the same name, another container the same numbers, and a
process that ended may have left its number to another one.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path

_IDENTITY = re.compile(r"@(?P<host>\S+) pid (?P<pid>\d+) run \S+(?: on (?P<machine>\S+))?")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


def user_and_host() -> str:
    """`user@host`."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def machine() -> str:
    """What this boot of this machine and the space of its process numbers have alone, in the characters of a label."""
    with suppress(OSError):
        boot = _BOOT_ID.read_text(encoding="utf-8").strip().replace("-", "")
        return f"{boot[:16]}-{re.sub(r'[^0-9]', '', str(_PID_NAMESPACE.readlink()))}"
    return f"{uuid.getnode():x}"


def identity(run: str) -> str:
    """The run's identity, by which another process of this machine can tell whether it still lives."""
    return f"{user_and_host()} pid {os.getpid()} run {run} on {machine()}"


def is_gone(text: str) -> bool | None:
    """Whether the run whose identity the text holds has ended; None where that cannot be told from this machine."""
    found = _IDENTITY.search(text)
    if found is None or found["machine"] != machine():
        return None
    return has_ended(int(found["pid"]))


def start_time(pid: int) -> str:
    """What tells a process from a later one with the same number; empty where there is none, or it cannot be told."""
    with suppress(OSError, IndexError):
        # The 22nd field of proc_pid_stat(5); the second, a name in parentheses, may hold spaces.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    return ""


def has_ended(pid: int, started: str = "") -> bool:
    """Whether no other process has this number any more: our own was somebody's who died before.

    `started` is the process's `start_time`, where it is known: another one that has the number by now is not it. A
    process that this one has started and that has ended is taken off the system's list.
    """
    if pid == os.getpid():
        return True
    if os.name != "posix":  # where signal 0 is no question
        return False
    with suppress(OSError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(started) and start_time(pid) not in ("", started)
