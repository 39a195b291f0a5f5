"""Programs that run to their end or to their time limit, with all they print kept in files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TIMED_OUT = -1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: exit code (TIMED_OUT where it did not), what it printed, and its seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def last(self) -> str:
        """The last line that says something, for a table."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return "time limit" if self.code == TIMED_OUT else lines[-1] if lines else ""

    def document(self) -> dict[str, Any]:
        """The JSON document on standard output; empty where there is none."""
        try:
            found = json.loads(self.out)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(slots=True)
class Runner:
    """Runs programs in a folder; what each printed is a file of `logs`, numbered in their order."""

    logs: Path
    cwd: Path
    env: Mapping[str, str]
    count: int = field(default=0)

    def run(self, name: str, words: Sequence[str | Path], *, limit: float = 120, text: str | bytes = "") -> Ended:
        """The program ran; it and all below it are killed after `limit` seconds."""
        begun = time.monotonic()
        self.count += 1
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=self.cwd,
            env={**os.environ, **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(text.encode() if isinstance(text, str) else text, timeout=limit)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            code = TIMED_OUT
        ended = Ended(code, out.decode(errors="replace"), err.decode(errors="replace"), time.monotonic() - begun)
        self._keep(name, words, ended)
        return ended

    def _keep(self, name: str, words: Sequence[str | Path], ended: Ended) -> None:
        head = f"$ {' '.join(str(word) for word in words)}\n# exit {ended.code}, {ended.seconds:.1f} s\n"
        (self.logs / f"{self.count:02}-{name}.log").write_text(f"{head}{ended.out}\n--- stderr\n{ended.err}\n")
