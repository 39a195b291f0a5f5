"""A run that is going to be killed: what it reports, and everything it started, known by a mark in the environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.e2e.project import Project

MARK = "TODO_CHAOS_RUN"
Event = Mapping[str, Any]


class Victim:
    """`todo-deploy` at work, its events as they come."""

    def __init__(self, project: Project, words: tuple[str, ...], mark: str) -> None:
        self.mark = mark
        self.events: list[Event] = []
        self.noise: list[str] = []
        self._news = threading.Condition()
        self._begun = time.monotonic()
        self.process = project.process(*words, "--progress", "json", "-o", "json", env={MARK: mark})
        self._stdout: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_stdout, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def await_event(self, what: Callable[[Event], bool], seconds: float) -> bool:
        """Returns as soon as such an event was reported; False when the run ended or time was up before."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._news:
            while True:
                fresh, seen = self.events[seen:], len(self.events)
                if any(what(event) for event in fresh):
                    return True
                if self.process.poll() is not None or time.monotonic() > deadline:
                    return False
                self._news.wait(0.05)

    def await_stage(self, stage: str, seconds: float) -> bool:
        """Returns as soon as the stage began; False when the run ended or time was up before."""
        return self.await_event(lambda event: event["type"] == "stage_started" and event["stage"] == stage, seconds)

    def await_program(self, name: str, seconds: float) -> bool:
        """Returns as soon as a program of this name is at work below the run; False when the run ended before."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if any(program_of(pid) == name for pid in marked(self.mark)):
                return True
            time.sleep(0.01)
        return False

    def kill(self, *, children: bool) -> tuple[str, ...]:
        """The run was killed, with everything below it or alone; the names of the programs it had started."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGSTOP)  # it starts nothing more while it is looked at
        below = [pid for pid in marked(self.mark) if pid != self.process.pid]
        names = tuple(sorted(name for pid in below if (name := program_of(pid))))
        if children:
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            below = [pid for pid in marked(self.mark) if pid != self.process.pid]
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        for reader in self._readers:
            reader.join(1 if not children and names else 5)  # an orphan may hold its end of the pipe
        return names

    def wait(self, seconds: float) -> int:
        """The run has ended by itself; its exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill(children=True)
            raise
        for reader in self._readers:
            reader.join(5)
        return code

    @property
    def document(self) -> Mapping[str, Any]:
        """The one document that the run printed; empty when it printed none."""
        with suppress(ValueError):
            document = json.loads("".join(self._stdout))
            return document if isinstance(document, dict) else {}
        return {}

    @property
    def open_stages(self) -> tuple[str, ...]:
        """The stages that had begun and not ended when the last event was reported."""
        running: list[str] = []
        for event in list(self.events):
            if event["type"] == "stage_started":
                running.append(event["stage"])
            elif event["type"] in ("stage_finished", "stage_failed") and event["stage"] in running:
                running.remove(event["stage"])
        return tuple(running)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._begun

    def spans(self) -> dict[str, float]:
        """How long each stage took that ended well; the longest where one name came twice."""
        found: dict[str, float] = {}
        for event in list(self.events):
            if event["type"] == "stage_finished":
                found[event["stage"]] = max(found.get(event["stage"], 0.0), float(event["seconds"]))
        return found

    def _read_events(self) -> None:
        assert self.process.stderr is not None
        with suppress(ValueError), self.process.stderr as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    self.noise.append(line)
                    continue
                with self._news:
                    self.events.append(event)
                    self._news.notify_all()

    def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        with suppress(ValueError), self.process.stdout as stream:
            self._stdout.extend(stream)


def marked(mark: str) -> list[int]:
    """Every process that the run started, however far below and whoever its parent is by now."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in Path(f"/proc/{entry.name}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def program_of(pid: int) -> str:
    """The name of the process's program; empty when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
