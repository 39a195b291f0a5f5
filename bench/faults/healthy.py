"""Ten rollouts that go well, under circumstances that look like faults: none may raise an alarm."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from bench.faults.bench import Bench, Run, node_paused
from bench.faults.judging import code_of
from bench.faults.model import RELEASE
from deployer.diagnosis.causes import CAUSES

_SLOW = {
    "command": ["sh", "-c", "sleep 25; exec python -m todo_backend"],
    "probes": {"startup": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 2, "failureThreshold": 60}},
}
_LATE_DATABASE = {"command": ["sh", "-c", "sleep 20; exec /usr/local/bin/todo-database"]}


@dataclass(frozen=True)
class Rollout:
    """One healthy rollout; `during` is what happens meanwhile, `first` starts from an empty cluster."""

    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    during: str = ""
    first: bool = False


ROLLOUTS: tuple[Rollout, ...] = (
    Rollout("first install, the database comes up 20 s after the backend",
            {"database": _LATE_DATABASE}, first=True),
    Rollout("the backend takes 25 s to start", {"backend": _SLOW}),
    Rollout("back to a quick backend"),
    Rollout("a setting of the backend, under load", {"backend": {"podAnnotations": {"round": "4"}}}, during="load"),
    Rollout("everything rolls, under load",
            {name: {"podAnnotations": {"round": "5"}} for name in ("backend", "frontend-web", "frontend-chatbot")},
            during="load"),
    Rollout("the node stands still for 10 s", {"backend": {"podAnnotations": {"round": "6"}}}, during="pause"),
    Rollout("the database restarts, and is late", {"database": {**_LATE_DATABASE, "podAnnotations": {"round": "7"}}}),
    Rollout("a slow backend again, while the node stands still",
            {"backend": {**_SLOW, "podAnnotations": {"round": "8"}}}, during="pause"),
    Rollout("three backends instead of two", {"backend": {"replicaCount": 3}}),
    Rollout("back to what it was"),
)  # fmt: skip


@dataclass
class Load:
    """Requests to the frontend and through it to the backend, as they went."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Healthy:
    """How one rollout went: what was said besides progress, and what is wrong with that."""

    rollout: Rollout
    seconds: float
    exit_code: int
    notes: tuple[str, ...]
    load: Load | None
    wrong: tuple[str, ...]


def run_healthy(bench: Bench, rollouts: Sequence[Rollout] = ROLLOUTS) -> Iterator[Healthy]:
    """Each rollout ran to its end, one after the other."""
    for rollout in rollouts:
        if rollout.first:
            bench.empty()
        load = Load() if rollout.during == "load" else None
        beside: Context[None] = under_load(bench, load) if load is not None else nullcontext()
        seen: list[Run] = []
        with ThreadPoolExecutor(1) as pool, beside:
            paused = pool.submit(_pause_in_rollout, bench, seen) if rollout.during == "pause" else None
            run = bench.deploy("--hold", "5s", overlay=_overlay(rollout), started=seen.append)
        yield judged(rollout, run, load, paused.exception() if paused is not None else None)


def judged(rollout: Rollout, run: Run, load: Load | None, not_paused: BaseException | None = None) -> Healthy:
    """What is wrong: a failure, any alarm of a cause, a note that is no ordinary moment, a lost request."""
    alarms = [timed.event["problem"] for timed in run.of("warned") if timed.event["problem"]["code"] in CAUSES]
    notes = [timed.event["text"] for timed in run.of("item") if code_of(timed.event["text"]) is not None]
    wrong = [f"alarm {one['code']}: {one['title']}" for one in alarms]
    if run.exit_code != 0:
        problems = [one for timed in run.of("stage_failed") for one in timed.event["problems"]]
        wrong += [f"it failed: {one['code']}: {one['title']}" for one in problems] or [f"exit code {run.exit_code}"]
    if load is not None and (load.failed or not load.sent):
        wrong.append(f"{len(load.failed)} of {load.sent} requests failed: {load.failed[:1]}")
    if not_paused is not None:
        wrong.append(f"the node did not stand still: {not_paused}")
    return Healthy(rollout, run.ended - run.began, run.exit_code, tuple(dict.fromkeys(notes)), load, tuple(wrong))


def _overlay(rollout: Rollout) -> dict[str, Any]:
    return {"releases": {RELEASE: {"values": dict(rollout.values)}}} if rollout.values else {}


def _pause_in_rollout(bench: Bench, seen: Sequence[Run]) -> None:
    """Two seconds into the rollout the node stands still for ten."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if seen and any(timed.event["stage"] == "rollout" for timed in seen[0].of("stage_started")):
            time.sleep(2)
            node_paused(str(bench.project.toolchain.docker), 10)
            return
        time.sleep(0.05)
    raise TimeoutError("no rollout began within two minutes")


@contextmanager
def under_load(bench: Bench, load: Load) -> Iterator[None]:
    """While inside, both frontends and the backend behind them are asked without a pause, four at a time."""
    over = threading.Event()
    origins = [f"{url}{path}" for url in bench.urls for path in ("/", "/api/health")]
    threads = [threading.Thread(target=_ask, args=(origin, load, over), daemon=True) for origin in origins]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(15)


def _ask(address: str, load: Load, over: threading.Event) -> None:
    parts = urllib.parse.urlsplit(address)
    while not over.wait(0.05):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
        try:
            connection.request("GET", parts.path or "/")
            status = connection.getresponse().status
            if status >= 400:
                load.failed.append(f"{address}: {status}")
        except (OSError, http.client.HTTPException) as error:
            load.failed.append(f"{address}: {type(error).__name__} {error}")
        finally:
            connection.close()
        load.sent += 1
