"""Each file of tests/data/status is one snapshot as the API returns it, and what must be said of it."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployer.config.spec import FailFast
from deployer.diagnosis import Finding, Known, Observed, diagnose, judge, logs_wanted, problem
from deployer.status import (
    Phase,
    Snapshot,
    WorkloadRef,
    current_pods,
    is_rollout_complete,
    old_pods,
    pod_phase,
    service_phase,
    workload_status,
)
from deployer.status.objects import epoch, find, name_of
from tests import DATA

CASES = sorted((DATA / "status").glob("*.yaml"))
LONG = 600
KINDS = [field.name for field in fields(Snapshot)]


@cache
def load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class Case:
    def __init__(self, path: Path) -> None:
        data = load(path)
        self.expect: dict[str, Any] = data["expect"]
        self.snapshot = Snapshot(**{kind: tuple(objects) for kind, objects in data["objects"].items()})
        self.refs = tuple(WorkloadRef("todo", *text.split("/")) for text in data["refs"])
        self.ref = next((ref for ref in self.refs if f"{ref.kind}/{ref.name}" == self.expect.get("ref")), self.refs[0])
        start, now = epoch(data["since"]), epoch(data["now"])
        assert start is not None and now is not None
        self.since, self.now = start + self.expect.get("since_plus", 0), now
        self.was_available: bool = data.get("was_available", False)
        known = data.get("known", {})
        self.known = Known(
            secrets=known.get("secrets", {}),
            node_images=tuple(known.get("node_images", ())),
            host_images=tuple(known.get("host_images", ())),
            growable=known.get("growable", False),
            needed=frozenset(map(tuple, known.get("needed", ()))),
        )
        self.logs = {(log["pod"], log["container"], log["previous"]): log["text"] for log in data.get("logs", ())}

    def findings(self) -> tuple[Finding, ...]:
        return diagnose(self.snapshot, self.refs, self.logs, self.now, self.since, known=self.known)


@pytest.fixture(params=CASES, ids=lambda path: path.stem)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_there_are_cases() -> None:
    assert len(CASES) >= 30


def test_status(case: Case) -> None:
    got = workload_status(case.ref, case.snapshot, case.now, was_available=case.was_available)
    figures = {name: getattr(got, name) for name in ("ready", "desired", "updated", "restarts", "reason", "message")}
    figures["phase"] = got.phase.value
    wanted = case.expect.get("status", {})
    assert {name: figures[name] for name in wanted} == wanted


OVER = (Phase.AVAILABLE, Phase.SCALED_TO_ZERO)
PODS_SAY_OTHERWISE = {"being_deleted", "ready_by_status_only"}
NOT_ALL_REPLACED = {"stateful_set_partition", "stateful_set_on_delete"}


def test_a_controller_reports_that_a_rollout_is_over(case: Case, request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    for ref in case.refs:
        workload, status = find(ref, case.snapshot), workload_status(ref, case.snapshot, case.now)
        if workload is not None and name not in PODS_SAY_OTHERWISE | NOT_ALL_REPLACED:
            over = status.phase in (*OVER, Phase.FAILED) if ref.kind == "Job" else status.phase in OVER
            assert is_rollout_complete(ref.kind, workload) == over, (ref, status)


def test_pods_that_count(case: Case) -> None:
    if "current" in case.expect:
        assert [name_of(pod) for pod in current_pods(case.ref, case.snapshot)] == case.expect["current"]
    if "old" in case.expect:
        assert [name_of(pod) for pod in old_pods(case.ref, case.snapshot)] == case.expect["old"]


def test_phases_of_parts(case: Case) -> None:
    phases = {name_of(pod): pod_phase(pod).value for pod in case.snapshot.pods}
    services = {name_of(one): service_phase(one, case.snapshot.endpointslices).value for one in case.snapshot.services}
    for found, wanted in ((phases, case.expect.get("pods", {})), (services, case.expect.get("services", {}))):
        assert {name: found.get(name) for name in wanted} == wanted


def test_findings(case: Case) -> None:
    found = case.findings()
    wanted = [{"code": one} if isinstance(one, str) else one for one in case.expect["findings"]]
    assert [one.code for one in found] == [one["code"] for one in wanted]
    for one, want in zip(found, wanted, strict=True):
        shown = {
            "code": one.code, "title": one.title, "container": one.container, "detail": one.detail,
            "observations": one.observations, "workload": str(one.workload), "ignored": bool(one.ignored),
            "since": one.since,
        }  # fmt: skip
        named = {key: epoch(value) if key == "since" else value for key, value in want.items() if key in shown}
        assert {key: shown[key] for key in named} == named
        assert want.get("hint", "") in "\n".join(one.hints)
        assert want.get("evidence", "") in "\n".join(one.evidence)


def test_findings_are_fit_to_show(case: Case) -> None:
    for one in case.findings():
        shown = problem(one)
        text = "\n".join((shown.title, shown.detail, shown.where, *shown.hints))
        assert shown.code == one.code and shown.title and "\n" not in shown.title
        assert "{" not in shown.title and "?" not in shown.title
        assert not any(ord(char) < 32 and char != "\n" for char in text)


def test_findings_do_not_depend_on_the_order_of_lists(case: Case) -> None:
    backwards = Snapshot(**{name: getattr(case.snapshot, name)[::-1] for name in KINDS})
    again = diagnose(backwards, case.refs[::-1], case.logs, case.now, case.since, known=case.known)
    assert [(one.code, one.pod, one.title) for one in again] == [
        (one.code, one.pod, one.title) for one in case.findings()
    ]


def test_logs_wanted(case: Case) -> None:
    wanted = [[log.pod, log.container, log.previous] for log in logs_wanted(case.snapshot, case.refs)]
    expected = case.expect.get("logs_wanted")
    if expected is not None:
        assert wanted == expected
    assert {tuple(log) for log in wanted} >= set(case.logs)


def test_verdict(case: Case) -> None:
    """Were the snapshot to stay as it is, the run fails after so many seconds, and for this."""
    if "fails" not in case.expect:
        return
    found, memory, verdict = case.findings(), Observed(), None
    for second in range(LONG):
        memory = memory.observe(found, case.now + second)
        verdict = judge(found, memory, case.now + second, FailFast.BALANCED)
        if verdict.state == "failed":
            break
    assert verdict is not None
    assert (second if verdict.state == "failed" else "never") == case.expect["fails"]
    if verdict.state == "failed" and "blamed" in case.expect:
        assert verdict.finding is not None and verdict.finding.code == case.expect["blamed"]
    at_deadline = judge(found, memory, case.now, FailFast.BALANCED, deadline_passed=True)
    assert at_deadline.state == "failed" and at_deadline.finding is not None
    if "fails_at_deadline" in case.expect:
        assert at_deadline.finding.code == case.expect["fails_at_deadline"]


def loaded(name: str) -> Case:
    return Case(next(path for path in CASES if path.stem == name))


def changed(case: Case, **kinds: list[Any]) -> Case:
    case.snapshot = replace(case.snapshot, **{kind: tuple(objects) for kind, objects in kinds.items()})
    return case


def test_a_sandbox_that_failed_once_is_the_kubelets_to_make_again() -> None:
    case = loaded("sandbox")
    once = changed(case, events=[{**event, "count": 1} for event in case.snapshot.events])
    assert [(one.code, one.ignored) for one in once.findings()] == [("SANDBOX", "the kubelet tries again")]


@pytest.mark.parametrize(
    ("asked_after", "now_after", "expected"),
    [
        (None, 55, []),  # the startup probe may take a minute, and its end is not seen
        (45, 50, [True]),  # it was asked for the first time five seconds ago
        (45, 80, [False]),
        (None, 95, [False]),
    ],
)
def test_readiness_is_asked_for_once_the_startup_probe_has_succeeded(
    asked_after: int | None, now_after: int, expected: list[bool]
) -> None:
    case = loaded("readiness_never")
    (pod,), (event,) = case.snapshot.pods, case.snapshot.events
    (container,), (status,) = pod["spec"]["containers"], pod["status"]["containerStatuses"]
    started = epoch(status["state"]["running"]["startedAt"])
    assert started is not None
    slow = {**container, "startupProbe": {"periodSeconds": 2, "failureThreshold": 30}}
    events = []
    if asked_after is not None:
        first = datetime.fromtimestamp(started + asked_after, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        events = [{**event, "firstTimestamp": first, "lastTimestamp": first, "count": 1}]
    pods = [{**pod, "spec": {**pod["spec"], "containers": [slow]}}]
    case = changed(case, pods=pods, events=events)
    case.now = started + now_after
    assert [bool(one.ignored) for one in case.findings() if one.code == "READINESS_PROBE"] == expected
