from __future__ import annotations

import itertools
import json
import stat
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from deployer import diagnosis
from deployer.config.spec import FailFast
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Event, ItemState, RunFinished, RunStarted, Warned
from deployer.core.ports import Object, ObjectRef
from deployer.core.redact import Redactor
from deployer.core.steps import Outcome, Steps
from deployer.diagnosis import Finding
from deployer.evidence import Ended, note_verdict, recorded, recording_in, summarize
from deployer.evidence.capture import begun, manifest_diff, masked
from deployer.evidence.describe import describe, event_lines
from deployer.evidence.timeline import (
    Row,
    Segment,
    Sighting,
    Timeline,
    critical_path,
    from_wire,
    node_data,
    node_lines,
    pod_rows,
    quantity,
    sighting,
    timeline_of,
)
from deployer.helm.storage import Applied
from deployer.rollout.stage import Limits, Rollout, await_rollout
from deployer.state.runs import RunFolder, RunRecord, new_run_id, read_events, read_json
from deployer.status import Snapshot, WorkloadStatus
from tests.fakes import FakeClock, FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import failed, played
from tests.fakes.workloads import object_ref, ref, show

SECRET = "kq-canary-7f3"
NEVER_PULL = ("ErrImageNeverPull", 'Container image "api:1" is not present with pull policy of Never')
CRASHED = ("CrashLoopBackOff", "back-off 10s restarting failed container")


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    path = tmp_path / "runs" / "20260102T030405Z-0000"
    path.mkdir(parents=True, mode=0o700)
    return RunFolder(path, Redactor([SECRET]))


def applied(kube: FakeKube, *names: str, changed: bool = True) -> tuple[Applied, ...]:
    deployment = {"kind": "Deployment", "metadata": {"name": "api"}, "spec": {"replicas": 1}}
    for number, image in ((1, "api:1"), (2, "api:2")):
        kube.put(release_secret("app", "default", number, "deployed", objects=[{**deployment, "image": image}]))
    refs = tuple(object_ref(name) for name in names or ("api",))
    return (Applied("app", "default", 2, changed, "values changed", "", refs, False),)


def rollout(kube: FakeKube, *names: str, changed: bool = True) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    refs = tuple(ref(name) for name in names or ("api",))
    limits, releases = Limits(60, 0, FailFast.BALANCED), applied(kube, *names, changed=changed)
    watched = Rollout(refs, kube, kube.clock, limits, kube.clock.now(), changed, releases=releases)
    return recorded(await_rollout(watched), watched)


def files(folder: RunFolder) -> list[str]:
    return sorted(str(one.relative_to(folder.path)) for one in folder.path.rglob("*") if one.is_file())


def test_a_failed_rollout_leaves_the_cluster_as_it_stood(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api", ready=False, restarts=3, waiting=CRASHED, crashed=1)
    show(kube, "stranger")
    kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app-secrets", "namespace": "default"},
              "data": {"KEY": "c2VjcmV0"}})  # fmt: skip
    kube.container_logs["default", "api-pod", "api", True] = [f"connecting with {SECRET}", "ValueError: broken"]
    with recording_in(folder):
        _, error = failed(rollout(kube))
    (problem,) = error.problems
    assert problem.code == "CRASH_LOOP"
    assert problem.detail.endswith(f"evidence: {folder.path}")
    assert problem.hints[-1] == "todo-deploy explain"
    assert files(folder) == [
        "cluster/describe/deployment.api.txt",
        "cluster/describe/pod.api-pod.txt",
        "cluster/events.json",
        "cluster/events.txt",
        "cluster/logs/api-pod.api.previous.log",
        "cluster/nodes.json",
        "cluster/nodes.txt",
        "cluster/objects.json",
        "release.diff",
        "rollout.json",
    ]
    kinds = {one["kind"] for one in json.loads((folder.path / "cluster/objects.json").read_text())}
    assert kinds == {"Deployment", "ReplicaSet", "Pod"}
    everything = "".join((folder.path / name).read_text() for name in files(folder))
    assert SECRET not in everything and "stranger" not in everything and "c2VjcmV0" not in everything
    assert "connecting with •••" in everything
    assert "-image: api:1" in everything and "+image: api:2" in everything


def test_what_is_kept_is_its_owners_only(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    with recording_in(folder):
        failed(rollout(kube))
    modes = {stat.S_IMODE(one.stat().st_mode) for one in folder.path.rglob("*") if one.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.path.rglob("*") if one.is_dir()} == {0o700}


def test_findings_know_when_kubernetes_showed_them(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api", ready=False)
    kube.clock.at(3, lambda: show(kube, "api", ready=False, restarts=1, waiting=CRASHED, crashed=1))
    with recording_in(folder):
        events, _ = failed(rollout(kube))
    assert any(isinstance(one, Warned) for one in events)
    (seen,) = read_json(folder.path / "rollout.json")["sightings"]
    assert seen["code"] == "CRASH_LOOP"
    assert seen["since"] == kube.clock.now() - kube.clock.elapsed + 3
    assert 0 < seen["delay"] <= 3.5


def test_a_look_is_diagnosed_once(kube: FakeKube, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    show(kube, "api", ready=False, restarts=1, waiting=CRASHED, crashed=1)
    looks: list[object] = []
    diagnose = diagnosis.diagnose

    def counted(snapshot: Snapshot, *args: Any, **named: Any) -> tuple[Finding, ...]:
        looks.append(snapshot)
        return diagnose(snapshot, *args, **named)

    monkeypatch.setattr(diagnosis, "diagnose", counted)
    with recording_in(folder):
        events, _ = failed(rollout(kube))
    assert [one.since for one in events if isinstance(one, Warned)] == [kube.clock.now() - kube.clock.elapsed]
    assert len({id(one) for one in looks}) == len(looks)


def test_a_success_leaves_its_pods_times_and_images(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api")
    with recording_in(folder):
        played(rollout(kube))
    notes = read_json(folder.path / "rollout.json")
    assert [one["name"] for one in notes["pods"]] == ["api-pod"]
    assert "cluster" not in {one.name for one in folder.path.iterdir()}


def test_a_rollout_that_ended_well_goes_on_while_its_evidence_is_kept(folder: RunFolder) -> None:
    kube = BrokenKube(FakeClock())
    kube.hang = threading.Event()
    show(kube, "api")
    with recording_in(folder):
        played(rollout(kube))
        assert files(folder) == []
        kube.hang.set()
    assert (folder.path / "rollout.json").exists()


def test_what_went_well_before_a_failure_is_kept_before_it(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api")
    with recording_in(folder):
        played(rollout(kube))
        show(kube, "api", ready=False, waiting=NEVER_PULL)
        failed(rollout(kube))
    notes = read_json(folder.path / "rollout.json")
    assert [one["name"] for one in notes["pods"]] == ["api-pod", "api-pod"]
    assert [one["code"] for one in notes["sightings"]] == ["IMAGE_NEVER_PULL"]


def test_each_release_is_recorded_once_with_its_last_verdict(kube: FakeKube, folder: RunFolder) -> None:
    (new,) = applied(kube)
    before = replace(new, name="db", changed=False, verified=True)
    show(kube, "api")
    with recording_in(folder):
        note_verdict((new, before), "unfinished")
        played(rollout(kube))
        note_verdict((new, before), "failed")
    found = read_json(folder.path / "rollout.json")["releases"]
    assert [(one["name"], one["revision"], one["verdict"]) for one in found] == [
        ("app", 2, "failed"), ("db", 2, "verified"),
    ]  # fmt: skip


def test_a_proof_that_fails_after_a_good_rollout_leaves_logs_and_descriptions(
    kube: FakeKube, folder: RunFolder
) -> None:
    show(kube, "api")
    kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api", "namespace": "default"},
              "spec": {"type": "NodePort", "selector": {"app": "elsewhere"}, "ports": [{"port": 80}]}})  # fmt: skip
    kube.container_logs["default", "api-pod", "api", False] = ["GET / 404"]
    (new,) = applied(kube)
    service = ObjectRef("Service", "default", "api")
    watched = Rollout(
        (ref("api"),), kube, kube.clock, Limits(60, 0, FailFast.BALANCED), kube.clock.now(),
        releases=(replace(new, objects=(*new.objects, service)),),
    )  # fmt: skip

    def proof() -> Steps[None]:
        yield from ()
        raise DeployError(Problem("URL_FAILED", "does not answer as expected"), ExitCode.NOTHING_SERVES)

    with recording_in(folder):
        _, error = failed(recorded(proof(), watched, success=False))
    assert str(folder.path) in error.problems[0].detail
    assert "selector: app=elsewhere" in (folder.path / "cluster/describe/service.api.txt").read_text()
    assert "GET / 404" in (folder.path / "cluster/logs/api-pod.api.log").read_text()


def test_nothing_changed_leaves_nothing(kube: FakeKube, folder: RunFolder) -> None:
    show(kube, "api")
    with recording_in(folder):
        played(rollout(kube, changed=False))
    assert files(folder) == []


def test_without_a_folder_a_rollout_is_as_it_is(kube: FakeKube) -> None:
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    _, error = failed(rollout(kube))
    assert "evidence" not in error.problems[0].detail


class BrokenKube(FakeKube):
    """Answers what a rollout asks, and breaks on what only evidence wants."""

    hang: threading.Event | None = None

    def list(self, kind: str, namespace: str = "", **more: Any) -> list[Object]:
        if kind in ("PersistentVolumeClaim", "Node"):
            if self.hang is not None:
                self.hang.wait(20)
            raise ConnectionError("the API server went away")
        return super().list(kind, namespace, **more)


def test_a_broken_capture_hides_nothing(folder: RunFolder) -> None:
    kube = BrokenKube(FakeClock())
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    with recording_in(folder):
        _, error = failed(rollout(kube))
    assert error.problems[0].code == "IMAGE_NEVER_PULL"
    assert "went away" in (folder.path / "cluster/not-captured.txt").read_text()
    assert (folder.path / "release.diff").exists()


def test_a_capture_that_hangs_is_left_behind(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployer.evidence.recorder.LIMIT_SECONDS", 0.2)
    kube = BrokenKube(FakeClock())
    kube.hang = threading.Event()
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    began = time.monotonic()
    with recording_in(folder):
        _, error = failed(rollout(kube))
    assert time.monotonic() - began < 30, "it was waited for"
    assert error.problems[0].code == "IMAGE_NEVER_PULL"
    kube.hang.set()


def test_an_unwritable_folder_hides_nothing(kube: FakeKube, tmp_path: Path) -> None:
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    (tmp_path / "file").write_text("")
    with recording_in(RunFolder(tmp_path / "file" / "run", Redactor())):
        _, error = failed(rollout(kube))
    assert error.problems[0].code == "IMAGE_NEVER_PULL"
    assert "evidence" not in error.problems[0].detail


def test_work_is_given_up_in_time() -> None:
    late_seen = threading.Event()

    def work(late: Any) -> None:
        while not late():
            time.sleep(0.005)
        late_seen.set()
        time.sleep(0.5)

    assert not begun(0.05, work)()
    assert late_seen.wait(30)
    assert begun(2, lambda late: None)()


def test_objects_are_masked() -> None:
    env = [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "dev"},
           {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
           {"name": "URL", "value": "postgresql://todo:hunter2@db:5432/todo"}]  # fmt: skip
    shown = masked({"kind": "Pod", "metadata": {"name": "p", "managedFields": [1], "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}}, "spec": {"env": env}})  # fmt: skip
    assert "hunter2" not in str(shown)
    assert shown["spec"]["env"][1]["value"] == "dev"
    assert shown["spec"]["env"][2] == env[2]
    assert shown["metadata"] == {"name": "p", "annotations": {"a": "b"}}
    assert masked({"kind": "Secret", "metadata": {}, "data": {"a": "YQ=="}})["data"] == {"a": "•••"}
    made = masked({"kind": "ConfigMap", "metadata": {}, "data": {"JWT_SECRET": "x", "LOG_LEVEL": "info"}})
    assert made["data"] == {"JWT_SECRET": "•••", "LOG_LEVEL": "info"}


def test_a_diff_shows_changed_secrets_without_their_values() -> None:
    secret = "kind: Secret\nmetadata: {{name: s}}\nstringData: {{A: {0}, B: same}}\n"
    text = manifest_diff(secret.format("one"), secret.format("two"), ("r 1", "r 2"))
    assert "one" not in text and "two" not in text
    assert "+  A: ••• (changed)" in text and "B: •••" in text
    assert manifest_diff(secret.format("one"), secret.format("one"), ("r 1", "r 2")) == ""


def test_a_diff_names_objects_that_came_and_went() -> None:
    old = "kind: ConfigMap\nmetadata: {name: old}\n"
    new = "kind: ConfigMap\nmetadata: {name: new, namespace: todo}\n"
    text = manifest_diff(old, new, ("r 1", "r 2"))
    assert "--- r 1: configmap/old\n+++ /dev/null" in text
    assert "--- /dev/null\n+++ r 2: todo/configmap/new" in text


def test_events_are_a_table_by_time() -> None:
    pod = {"kind": "Pod", "name": "api"}
    lines = event_lines([
        {"type": "Warning", "reason": "BackOff", "message": "again\nand again", "involvedObject": pod, "count": 4,
         "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:05:05Z"},
        {"type": "Normal", "reason": "Scheduled", "message": "done", "involvedObject": pod, "firstTimestamp": None,
         "lastTimestamp": None, "eventTime": "2026-01-02T03:04:04.123456Z"},
    ])  # fmt: skip
    assert lines == [
        "SEEN      TYPE     REASON     OBJECT   MESSAGE",
        "03:04:04  Normal   Scheduled  pod/api  done",
        "03:05:05  Warning  BackOff    pod/api  again and again (x4 since 03:04:05)",
    ]
    assert event_lines([]) == ["no events"]


def test_a_pod_is_described_with_states_probes_and_mounts() -> None:
    container = {
        "name": "api", "image": "api:1",
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8000}, "periodSeconds": 5},
        "volumeMounts": [{"mountPath": "/data", "name": "data", "readOnly": True}],
    }  # fmt: skip
    status = {"name": "api", "restartCount": 2, "ready": False, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
              "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}  # fmt: skip
    text = describe({
        "kind": "Pod", "metadata": {"name": "api-0"},
        "spec": {"containers": [container], "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}]},
        "status": {"phase": "Running", "containerStatuses": [status],
                   "conditions": [{"type": "Ready", "status": "False"}]},
    }, [])  # fmt: skip
    for words in (
        "state: CrashLoopBackOff", "state: waiting, CrashLoopBackOff", "137", "OOMKilled", "restarts: 2",
        "GET :8000/ready, every 5 s", "A from secret s k", "/data from data, read only", "data: claim c",
    ):  # fmt: skip
        assert words in text
    assert "None" not in text.replace("started: None", "")


def test_a_bare_object_can_be_described() -> None:
    assert describe({"kind": "Job"}, []).startswith("job/")


def test_nodes_count_requests() -> None:
    def pod(cpu: str, **more: Any) -> Object:
        return {"spec": {"nodeName": "n", "containers": [{"resources": {"requests": {"cpu": cpu}}}], **more}}

    init = [{"resources": {"requests": {"cpu": "900m"}}}]
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}}
    done = {**pod("1"), "status": {"phase": "Succeeded"}}
    (data,) = node_data([node], [pod("250m"), pod("100m", initContainers=init), done])
    assert data["requests"]["cpu"] == pytest.approx(1.15)
    assert "1150m (57%)" in "\n".join(node_lines([data])) or "1150m (58%)" in "\n".join(node_lines([data]))
    assert quantity("128Mi") == 128 * 2**20 and quantity(None) == 0 and quantity("nonsense") == 0


def test_a_pods_life_is_shown_in_stretches() -> None:
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": "2026-01-02T00:00:02Z",
        "finishedAt": "2026-01-02T00:00:04Z",
    }
    (row,) = pod_rows([{
        "metadata": {"name": "p", "creationTimestamp": "2026-01-02T00:00:00Z"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-02T00:00:01Z"}],
            "containerStatuses": [{"name": "c", "lastState": {"terminated": ended},
                                   "state": {"running": {"startedAt": "2026-01-02T00:00:06Z"}}}],
        },
    }], now=1767312010.0)  # fmt: skip
    begin = row.segments[0].begin
    assert [(one.state, one.begin - begin, one.end - begin) for one in row.segments] == [
        ("Pending", 0, 1), ("Pulling/Creating", 1, 2), ("Running", 2, 4), ("CrashLoopBackOff", 4, 6),
        ("Running", 6, 10),
    ]  # fmt: skip


def records(*events: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"v": 1, "at": 100.0 + number, **event} for number, event in enumerate(events)]


def test_a_stage_that_ran_twice_is_one_row() -> None:
    def once(kind: str) -> tuple[dict[str, Any], ...]:
        return {"type": "stage_started", "stage": "rollout"}, {"type": kind, "stage": "rollout", "changed": True}

    (row,) = timeline_of(records(*once("stage_failed"), *once("stage_finished"))).rows
    assert [one.state for one in row.segments] == ["failed", "done"]


def test_a_run_that_was_killed_has_an_unfinished_stage() -> None:
    (row,) = timeline_of(records({"type": "stage_started", "stage": "images"}, {"type": "log"})).rows
    assert row.segments == (Segment("unfinished", 100.0, 101.0),)
    assert timeline_of([]).seconds > 0


def test_pods_are_clipped_to_the_run_and_seen_once() -> None:
    before = Row("p", "pod", (Segment("Ready", 50.0, 100.5),))
    later = Row("p", "pod", (Segment("Ready", 50.0, 101.0),))
    gone = Row("q", "pod", (Segment("Ready", 10.0, 20.0),))
    timeline = timeline_of(records({"type": "x"}, {"type": "y"}), [before, later, gone])
    assert timeline.rows == (Row("p", "pod", (Segment("Ready", 100.0, 101.0),)),)


def test_a_delay_counts_from_the_run() -> None:
    assert sighting("A", "", "", 90.0, 101.5, begun=100.0).delay == 1.5
    assert sighting("A", "", "", 101.0, 101.5, begun=100.0).delay == 0.5
    assert sighting("A", "", "", None, 101.5, begun=100.0).delay is None


def test_a_timeline_survives_its_file() -> None:
    row = Row("p", "pod", (Segment("Ready", 100.0, 101.0, "why"),))
    timeline = timeline_of(records({"type": "x"}, {"type": "y"}), [row], [Sighting("A", "t", "w", None, 100.5, None)])
    assert from_wire(json.loads(json.dumps(asdict(timeline)))) == timeline


def written(state: Path, *, outcome: str = "ok", changed: bool = False, at: float = 1_700_000_000.0) -> RunFolder:
    record = RunRecord(state, new_run_id(at))
    folder = RunFolder(record.folder, Redactor([SECRET]))
    events: list[Event] = [
        RunStarted("up", "todo", ("images",)),
        RunFinished(0 if outcome == "ok" else 6, changed, 2.5, outcome),  # type: ignore[arg-type]
    ]
    for event in events:
        record.write(event, at)
    record.close()
    problems = (Problem("CRASH_LOOP", f"it ended with {SECRET}"),) if outcome == "failed" else ()
    code = 6 if problems else 0
    summarize(folder, Ended("up", "todo", outcome, code, changed, 2.5, problems, None, None))
    return folder


def test_a_run_is_summarized(tmp_path: Path) -> None:
    folder = written(tmp_path, outcome="failed")
    assert files(folder) == ["events.jsonl", "run.json", "timeline.json"]
    summary = read_json(folder.path / "run.json")
    assert (summary["command"], summary["exitCode"], summary["outcome"]) == ("up", 6, "failed")
    assert summary["problems"][0]["title"] == "it ended with •••"


def test_a_quiet_run_keeps_its_events_only(tmp_path: Path) -> None:
    assert files(written(tmp_path)) == ["events.jsonl"]


def test_quiet_runs_do_not_push_out_the_one_that_failed(tmp_path: Path) -> None:
    made = written(tmp_path, outcome="failed")
    for number in range(1, 30):
        written(tmp_path, at=1_700_000_000.0 + number)
    kept = sorted(one.name for one in (tmp_path / "runs").iterdir())
    assert made.path.name in kept
    assert len(kept) in (1 + 20, 1 + 21)  # the newest began after the others were counted


def test_the_newest_twenty_with_a_summary_are_kept(tmp_path: Path) -> None:
    for number in range(25):
        written(tmp_path, changed=True, at=1_700_000_000.0 + number)
    kept = sorted(one.name for one in (tmp_path / "runs").iterdir())
    assert len(kept) in (20, 21)  # the newest began after the others were counted


def test_events_cut_short_by_a_kill_are_read(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"at": 1, "type": "x"}\n[1]\n{"at": 2, "ty')
    assert read_events(tmp_path) == [{"at": 1, "type": "x"}]
    assert read_json(tmp_path / "run.json") == {}


def test_images_know_their_ids() -> None:
    from deployer.evidence.recorder import images_of

    made = records({"type": "item", "stage": "images", "item": "api", "state": ItemState.DONE.value, "text": "api:1"})
    ids = {"docker.io/library/api:1": "docker://sha256:aa", "busybox:1": "docker-pullable://b@sha256:bb"}
    assert images_of(made, ids) == [
        {"name": "api", "ref": "api:1", "state": "done", "id": "sha256:aa"},
        {"name": "", "ref": "busybox:1", "state": "used", "id": "b@sha256:bb"},
    ]
    failed = records({"type": "item", "stage": "images", "item": "api", "state": "failed", "text": "RUN false"})
    assert images_of(failed, {}) == [{"name": "api", "ref": "", "state": "failed", "id": ""}]


def test_the_critical_path_is_what_the_run_waited_for() -> None:
    """Without a gap: of the images the one that was built last, of the rollout the pod that was ready last."""

    def row(name: str, kind: Any, *segments: tuple[str, float, float]) -> Row:
        return Row(name, kind, tuple(Segment(state, begin, end) for state, begin, end in segments))

    rows = (
        row("cluster", "stage", ("unchanged", 0.5, 1.0)),
        row("images", "stage", ("done", 2.0, 9.0)),
        row("quick", "item", ("done", 2.0, 3.0)),
        row("slow", "item", ("done", 2.5, 9.0)),
        row("secrets", "stage", ("unchanged", 2.0, 2.01)),
        row("releases", "stage", ("done", 9.0, 10.0)),
        row("rollout", "stage", ("done", 10.0, 20.0)),
        row("early", "pod", ("Pending", 9.0, 10.0), ("Running", 10.0, 12.0), ("Ready", 12.0, 20.0)),
        row("late", "pod", ("Pending", 10.0, 13.0), ("Pulling/Creating", 13.0, 15.0), ("Running", 15.0, 19.0),
            ("Ready", 19.0, 20.0)),
    )  # fmt: skip
    path = critical_path(Timeline(0.0, 20.5, rows))
    assert [(one.what, one.name) for one in path] == [
        ("start", ""), ("cluster", ""), ("plan, rules and dry run", ""), ("images", ""), ("build", "slow"),
        ("releases", ""), ("scheduler", "late"), ("image pull and start", "late"), ("readiness probe", "late"),
        ("rollout", ""), ("record", ""),
    ]  # fmt: skip
    assert path[0].begin == 0.0 and path[-1].end == 20.5
    assert all(one.end == after.begin for one, after in itertools.pairwise(path))
    assert critical_path(Timeline(0.0, 0.0)) == ()
    failed = critical_path(Timeline(0.0, 5.0, (row("rollout", "stage", ("failed", 0.0, 5.0)),)))
    assert [one.what for one in failed] == ["rollout"]
