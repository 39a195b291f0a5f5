"""The one way child processes are run: argv lists, output line by line, ended with SIGTERM when no longer needed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deployer.core.redact import foreign
from deployer.core.steps import on_stop

GRACE_SECONDS = 10.0


class CommandFailed(Exception):
    """A program ended with a non-zero status; `tail` holds its last lines of output."""

    def __init__(self, argv: Sequence[str], returncode: int, tail: Sequence[str]) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.tail = tuple(tail)
        super().__init__(f"{Path(argv[0]).name} ended with status {returncode}")


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
    keep: int = 40,
    inherit: Sequence[int] = (),
) -> Generator[str, None, None]:
    """Yields each line the program writes (standard error included) and returns when it has ended well.

    The program runs in a session of its own, so that a terminal's Ctrl-C reaches us alone: when the generator is
    closed or fails, the whole session gets SIGTERM and, after a grace period, SIGKILL. It has the file descriptors
    of `inherit` too. Raises CommandFailed.
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
    tail: deque[str] = deque(maxlen=keep)
    assert process.stdout is not None
    try:
        with on_stop(lambda: terminate(process)):
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
