"""Run records in the user's state directory: what a run said, without secret values, readable by its owner only."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from deployer.events import Event, to_wire

_KEPT = 20


def new_run_id(now: float) -> str:
    """A name that sorts by time and that two runs of the same second do not share."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"


class RunRecord:
    """Writes every event of one run, a JSON line each, as it happens."""

    def __init__(self, state_dir: Path, run: str) -> None:
        self.folder = state_dir / "runs" / run
        self._stream: TextIO | None = None
        with suppress(OSError):  # a full or read-only disk must not fail a run for its record
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._stream = _open_private(self.folder / "events.jsonl")
            _prune(state_dir / "runs")

    def write(self, event: Event, now: float) -> None:
        """The event is in the record."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps({"at": round(now, 3), **to_wire(event)}) + "\n")
            self._stream.flush()
        except OSError:
            self._stream = None

    def close(self) -> None:
        """The record is complete."""
        if self._stream is not None:
            self._stream.close()


def keep_trace(text: str) -> Path | None:
    """The trace is in a file of the state directory, whose path is returned; None where it cannot be written."""
    from platformdirs import user_state_path

    folder = user_state_path("todo-deploy") / "traces"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{new_run_id(time.time())}.txt"
        with _open_private(path) as stream:
            stream.write(text)
        return path
    return None


def _open_private(path: Path) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8")


def _prune(folder: Path) -> None:
    for old in sorted(folder.iterdir())[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
