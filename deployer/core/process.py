"""The one way child processes are run: argv lists, output line by line, ended with SIGTERM when no longer needed."""

from __future__ import annotations

import getpass
import os
import re
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

from deployer.core.redact import foreign
from deployer.core.steps import on_stop

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
    """The run's identity, by which another process of this machine can find out whether it still lives."""
    return f"{user_and_host()} pid {os.getpid()} run {run} on {machine()}"


def is_gone(text: str) -> bool | None:
    """Whether the run whose identity the text holds has ended; None where that cannot be known on this machine."""
    found = _IDENTITY.search(text)
    if found is None or found["machine"] != machine():
        return None
    return has_ended(int(found["pid"]))


def start_time(pid: int) -> str:
    """What distinguishes a process from a later one with its number; empty where there is none, or it is not known."""
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


GRACE_SECONDS = 10.0
_KEPT_LINES = 40


class CommandFailed(Exception):
    """A program ended with a non-zero status; `tail` holds its last lines of output."""

    def __init__(self, argv: Sequence[str], returncode: int, tail: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.tail = tuple(tail)
        super().__init__(f"{Path(argv[0]).name} ended with status {returncode}")

    @property
    def output(self) -> str:
        """Its last lines of output as one text."""
        return "\n".join(self.tail)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: str | None = None,
    timeout: float = 60,
) -> str:
    """The program ended well within `timeout` seconds and its standard output is returned.

    Raises CommandFailed with its standard error's last lines, FileNotFoundError, subprocess.TimeoutExpired.
    """
    words = [str(word) for word in argv]
    done = subprocess.run(
        words,
        env=None if env is None else dict(env),
        cwd=cwd,
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(words, done.returncode, foreign(done.stderr or done.stdout).splitlines()[-20:])
    return done.stdout


def stream(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    inherit: Sequence[int] = (),
    guard: Callable[[Callable[[], None]], AbstractContextManager[object]] = lambda end: nullcontext(),
) -> Generator[str, None, None]:
    """Yields each line the program writes (standard error included) and returns when it has ended well.

    The program runs in a session of its own, so that a terminal's Ctrl-C reaches us alone: when the generator is
    closed or fails, the whole session gets SIGTERM and, after a grace period, SIGKILL. It has the file descriptors
    of `inherit` too; `guard` is entered while it runs, with what ends it. Raises CommandFailed.
    """
    words = [str(word) for word in argv]
    process = subprocess.Popen(
        words,
        env=None if env is None else dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        bufsize=1,
        start_new_session=True,
        pass_fds=inherit,
    )
    tail: deque[str] = deque(maxlen=_KEPT_LINES)
    assert process.stdout is not None
    try:
        end = partial(terminate, process)
        with on_stop(end), guard(end):
            for line in process.stdout:
                text = foreign(line.rstrip("\r\n"))
                tail.append(text)
                yield text
            returncode = process.wait()
    finally:
        terminate(process)
        process.stdout.close()
    if returncode != 0:
        raise CommandFailed(words, returncode, tuple(tail))


def waited(
    argv: Sequence[str | Path], *, env: Mapping[str, str], timeout: float, every: float = 1.0
) -> Generator[float, None, str]:
    """Yields the seconds that the program has run, `every` so many, and returns its output when it has ended well.

    Both of its streams, standard error last. Raises CommandFailed, subprocess.TimeoutExpired once it was ended for
    running longer than `timeout`, and FileNotFoundError.
    """
    words = [str(word) for word in argv]
    process = subprocess.Popen(
        words, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    begun = time.monotonic()
    try:
        with on_stop(partial(terminate, process)):
            while True:
                try:
                    out, errors = process.communicate(timeout=every)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() - begun > timeout:
                        raise
                    yield time.monotonic() - begun
    finally:
        terminate(process)
        for pipe_end in (process.stdout, process.stderr):
            assert pipe_end is not None
            pipe_end.close()
    text = foreign("\n".join((out, errors)))
    if process.returncode != 0:
        raise CommandFailed(words, process.returncode, text.splitlines()[-_KEPT_LINES:])
    return text


def pipe(source: Sequence[str | Path], target: Sequence[str | Path], *, env: Mapping[str, str]) -> None:
    """What the first program wrote is what the second one read, and both ended well; raises CommandFailed."""
    first = subprocess.Popen([str(one) for one in source], env=dict(env), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    assert first.stdout is not None
    words = [str(one) for one in target]
    try:
        with on_stop(first.kill), first.stdout as archive:  # the second one ends at the end of what it reads
            done = subprocess.run(words, env=dict(env), stdin=archive, capture_output=True, text=True, errors="replace",
                                  start_new_session=True, check=False)  # fmt: skip
    except BaseException:
        first.kill()
        raise
    finally:
        ended = first.wait()
    if done.returncode != 0 or ended != 0:
        failed = words if done.returncode != 0 else [str(one) for one in source]
        raise CommandFailed(failed, done.returncode or ended, foreign(done.stderr or done.stdout).splitlines()[-20:])


def detached(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> int:
    """The program runs on after us, in a session of its own, its output in the log file; returns its process id."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            argv, env=dict(env), cwd=log.parent, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            start_new_session=True,
        )  # fmt: skip
    process.returncode = 0  # nobody waits for it: it is not ours any more
    return process.pid


def companion(argv: Sequence[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The program runs beside us, its output in the log file; its standard input ends when we do."""
    with log.open("ab") as stream:
        return subprocess.Popen(argv, env=dict(env), stdin=subprocess.PIPE, stdout=stream, stderr=stream)


def terminate(process: subprocess.Popen[str]) -> None:
    """The process and its session have ended."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    killer = threading.Timer(GRACE_SECONDS, _kill, args=(process,))
    killer.start()
    try:
        process.wait()
    finally:
        killer.cancel()


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
