"""Run records in the user's state directory: what a run said, without secret values, readable by its owner only.

`<state>/runs/<id>/events.jsonl` is written as the run goes on; a run that changed something or failed leaves more
beside it (deployer.evidence). The newest 20 of these are kept per application, failed ones longer, and the newest 20 of
the quiet ones.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from deployer.core.events import Event, to_wire
from deployer.core.files import path_component, state_folder, write_within
from deployer.core.objects import fitted
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.reading import read_json as read_json_file
from deployer.core.redact import KNOWN, Redactor

EVENTS, SUMMARY, TIMELINE = "events.jsonl", "run.json", "timeline.json"
_KEPT, _KEPT_FAILED = 20, 60
_LEARNED = 5
"""From so many runs it is learned how long a stage takes."""
LAST = 253402300800
"""The year 10000 in seconds since the epoch: no moment of a run lies beyond."""

_NUMBER = (int, float)
_PROBLEM = {"code": str, "title": str, "detail": str, "where": str, "hints": [str]}
_EVENT = {
    "at": _NUMBER, "type": str, "stage": str, "item": str, "state": str, "text": str, "line": str, "changed": bool,
    "command": str, "application": str, "outcome": str, "exit_code": int, "seconds": _NUMBER, "name": str, "url": str,
    "problem": _PROBLEM, "problems": [_PROBLEM],
    "status": {"ref": {"kind": str, "name": str, "namespace": str}, "phase": str, "reason": str, "message": str},
}  # fmt: skip
_NEEDED = {"workload_changed": ("status",), "warned": ("problem",)}
_SUMMARY = {
    "command": str, "application": str, "outcome": str, "exitCode": int, "changed": bool, "seconds": _NUMBER,
    "began": _NUMBER, "problems": [_PROBLEM], "spec": str, "profile": str, "commit": {"sha": str, "dirty": bool},
    "versions": {"*": (str, int, float)}, "images": [{}], "releases": [{}],
}  # fmt: skip


def new_run_id(now: float) -> str:
    """A name that sorts by time and that two runs of the same second do not share."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(2)}"


def runs_dir(state_dir: Path) -> Path:
    """Where the records of all runs are."""
    return state_dir / "runs"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run's record: what is written there is redacted and readable by its owner only."""

    path: Path
    redact: Redactor = field(repr=False)

    def write(self, name: str, text: str) -> None:
        """The file of that name (folders in it are made) holds the text without secret values."""
        # What an API server or a log said may hold halves of characters; they must not end the record.
        write_within(self.path, name, self.redact(text).encode("utf-8", "replace"))

    def write_json(self, name: str, value: Any) -> None:
        """The file of that name holds the value without secret values."""
        text = json.dumps(self.redact.data(value), ensure_ascii=False, indent=1) + "\n"
        write_within(self.path, name, text.encode("utf-8", "replace"))


class RunRecord:
    """Writes every event of one run, a JSON line each, as it happens."""

    def __init__(self, state_dir: Path, run: str) -> None:
        self.folder = runs_dir(state_dir) / path_component(run, "a run")
        self._stream: TextIO | None = None
        with suppress(OSError):  # a full or read-only disk must not fail a run for its record
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._stream = _open_private(self.folder / EVENTS)
            _prune(runs_dir(state_dir))

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


def read_events(path: Path) -> list[dict[str, Any]]:
    """The run's events; a line cut short by a kill is left out."""
    records = []
    with suppress(OSError), (path / EVENTS).open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            with suppress(Malformed):
                record = fitted(_EVENT, shaped(dict[str, Any], parse_json(line)))
                if 0 <= record.get("at", -1) < LAST and all(
                    name in record for name in ("type", *_NEEDED.get(record.get("type", ""), ()))
                ):
                    records.append(record)
    return records


def usual_seconds(state_dir: Path, application: str, command: str) -> dict[str, float]:
    """How long each stage takes in runs of the command in which it has something to do: the median of the newest."""
    taken: dict[str, list[float]] = {}
    looked = 0
    with suppress(OSError):
        for folder in sorted(runs_dir(state_dir).iterdir(), reverse=True):
            if looked == _LEARNED:
                break
            if not (folder / SUMMARY).exists() or _begun(folder) != (application, command):
                continue
            looked += 1
            for one in _ends(folder):
                if one.get("changed") and isinstance(one.get("seconds"), _NUMBER):
                    taken.setdefault(str(one.get("stage")), []).append(one["seconds"])
    return {stage: statistics.median(seconds) for stage, seconds in taken.items()}


def _ends(folder: Path) -> Iterator[dict[str, Any]]:
    """The ends of the run's stages, found without reading what it printed meanwhile."""
    with suppress(OSError), (folder / EVENTS).open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if '"stage_finished"' in line:
                with suppress(Malformed):
                    yield shaped(dict[str, Any], parse_json(line))


def read_json(path: Path) -> dict[str, Any]:
    """The object that the file holds; empty where there is none that can be read."""
    with suppress(OSError, Malformed):
        return fitted(_SUMMARY, read_json_file(path, dict[str, Any]))
    return {}


def keep_trace(text: str) -> Path | None:
    """The trace is in a file of the state directory, whose path is returned; None where it cannot be written."""
    folder = state_folder() / "traces"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{new_run_id(time.time())}.txt"
        with _open_private(path) as stream:
            stream.write(KNOWN(text))
        return path
    return None


def _open_private(path: Path) -> TextIO:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(opened, "w", encoding="utf-8", errors="replace")


def _prune(folder: Path) -> None:
    """Forty quiet runs a day must not push out the one that failed this morning, nor another application's."""
    groups: dict[tuple[str, bool], list[Path]] = {}
    for one in sorted(one for one in folder.iterdir() if one.is_dir()):
        groups.setdefault((_begun(one)[0], (one / SUMMARY).exists()), []).append(one)
    for (_, summarized), every in groups.items():
        older = every[:-_KEPT]
        failed = [one for one in older if summarized and read_json(one / SUMMARY).get("outcome") != "ok"]
        for old in set(older) - set(failed[-(_KEPT_FAILED - _KEPT) :]):
            shutil.rmtree(old, ignore_errors=True)


def _begun(folder: Path) -> tuple[str, str]:
    """Application and command of the run, which its first event names."""
    with suppress(OSError, Malformed), (folder / EVENTS).open(encoding="utf-8", errors="replace") as stream:
        first = shaped(dict[str, Any], parse_json(stream.readline()))
        return str(first.get("application", "")), str(first.get("command", ""))
    return "", ""
