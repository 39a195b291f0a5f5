"""Runs as lists of (seconds since the last event, event), and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployer.core.errors import Problem
from deployer.core.events import (
    Event,
    Item,
    ItemState,
    Log,
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageStarted,
    UrlProven,
    Warned,
    WorkloadChanged,
)
from deployer.status import Phase, WorkloadRef, WorkloadStatus
from deployer.ui.view import View, fold

RUNNING, DONE, UNCHANGED, FAILED = ItemState.RUNNING, ItemState.DONE, ItemState.UNCHANGED, ItemState.FAILED
Script = list[tuple[float, Event]]


@dataclass
class FakeClock:
    seconds: float = 100.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return 1_700_000_000.0 + self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def workload(name: str, phase: Phase, ready: int, desired: int, restarts: int = 0, why: str = "") -> WorkloadChanged:
    reason, _, message = why.partition(": ")
    ref = WorkloadRef("todo", "Deployment", name)
    return WorkloadChanged(WorkloadStatus(ref, phase, ready, desired, ready, restarts, reason, message))


CRASH = Problem(
    "CRASH_LOOP",
    "`deployment/backend`: container `backend` exits with 1 right after its start",
    "KeyError: 'DATABASE_URL'\nthe previous version serves",
    "charts/backend/values.yaml:41",
    ("todo-deploy secrets check", "todo-deploy rollback"),
)
LARGE = Problem("IMAGE_LARGE", "image `backend` is 412 MB, the spec allows 300 MB", hints=("todo-deploy plan",))

BUILDING: Script = [
    (0.0, RunStarted("up", "todo-chatbot", ("cluster", "images", "secrets", "releases", "rollout", "urls"))),
    (0.0, StageStarted("cluster")),
    (1.3, StageFinished("cluster", 1.3, True, "started, Kubernetes v1.34.0")),
    (0.0, StageStarted("images")),
    (0.0, Item("images", "frontend", UNCHANGED, "as built")),
    (0.1, Item("images", "backend", RUNNING, "RUN pip install --no-cache-dir -r requirements.txt", 4, 9)),
    (0.0, Item("images", "chatbot-frontend", RUNNING, "RUN npm ci && npm run build -- --mode production " * 3, 7, 11)),
    (3.2, Log("images", "backend", "Collecting \x1b[31mfastapi\x1b[0m [red]not markup[/red] \x1b]0;owned\x07日本語")),
]
ROLLING: Script = [
    *BUILDING,
    (8.0, Item("images", "backend", DONE, "built (todo_backend/main.py changed)")),
    (0.0, StageFinished("images", 11.3, True, "2 built, 1 unchanged")),
    (0.0, StageStarted("secrets")),
    (0.2, StageFinished("secrets", 0.2, False)),
    (0.0, StageStarted("releases")),
    (0.9, StageFinished("releases", 0.9, True, "todo revision 4")),
    (0.0, Warned(LARGE)),
    (0.0, StageStarted("rollout")),
    (0.0, workload("frontend", Phase.AVAILABLE, 2, 2)),
    (2.0, workload("backend", Phase.PROGRESSING, 0, 2, 1, "CrashLoopBackOff: container `backend` exited with 1")),
]
DONE_WELL: Script = [
    *ROLLING,
    (2.0, workload("backend", Phase.AVAILABLE, 2, 2)),
    (0.0, StageFinished("rollout", 4.0, True, "2 workloads available")),
    (0.0, StageStarted("urls")),
    (0.3, UrlProven("frontend", "http://192.168.49.2:30080", 200)),
    (0.0, StageFinished("urls", 0.3, False, "1 answered")),
    (0.0, RunFinished(0, True, 78.0, "ok")),
]
FAILED_RUN: Script = [
    *ROLLING,
    (0.0, Item("rollout", "deployment/backend", FAILED, "exited with 1")),
    (0.0, Log("rollout", "deployment/backend", "Traceback (most recent call last):")),
    (0.0, Log("rollout", "deployment/backend", "KeyError: 'DATABASE_URL'")),
    (1.0, workload("backend", Phase.FAILED, 0, 2, 3, "CrashLoopBackOff: container `backend` exited with 1")),
    (0.0, StageFailed("rollout", 3.0, (CRASH,))),
    (0.0, RunFinished(5, True, 17.8, "failed")),
]

# Two more things were found that the cause explains, or does not.
ALSO = Problem("READINESS_PROBE", "`deployment/frontend`: its readiness probe does not succeed", where="frontend")
FAILED_OF_MANY: Script = [
    *FAILED_RUN[:-2],
    (0.0, Warned(ALSO, further=True)),
    (0.0, Warned(CRASH, further=True)),
    *FAILED_RUN[-2:],
]


def events(script: Script) -> Iterable[Event]:
    return (event for _, event in script)


def viewed(script: Script, since: float = 0.0) -> tuple[View, float]:
    view, now = View(), since
    for wait, event in script:
        now += wait
        view = fold(view, event, now)
    return view, now
