"""Helm's hooks are watched while helm is at work: causes named, logs kept, a hopeless one not waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from deployer.config.spec import FailFast
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Event, Item, ItemState, Log, Warned
from deployer.core.steps import Steps, on_stop
from deployer.helm import storage
from deployer.rollout.hooks import HelmAtWork, pending_hooks, watched
from deployer.rollout.stage import Limits
from tests.fakes import FakeClock, FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import code, failed, played

JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}
"""
WAIT = 5.0


def hook(manifest: str = JOB, *events: str) -> dict[str, Any]:
    return {"name": "migrate", "kind": "Job", "manifest": manifest, "events": list(events or ("pre-upgrade",))}


@dataclass
class Scene:
    """A helm at work on revision 2 of the release `web`, as the API server shows it."""

    kube: FakeKube = field(default_factory=lambda: FakeKube(FakeClock()))
    kept: dict[str, str] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def begin(self, *hooks: dict[str, Any], status: str = "pending-upgrade") -> None:
        """Helm has stored the revision that it is about to make."""
        secret = release_secret("web", "default", 2, status)
        document = {**storage.decode(secret), "hooks": list(hooks)}
        secret["data"]["release"] = storage.encode(document)
        self.kube.put(secret)

    def job(self, *, failed: bool = False, judged: bool = True, log: tuple[str, ...] = ()) -> None:
        """The hook's Job with its pod, which may have failed before its controller says so of the Job."""
        stamp = self.kube.clock.stamp(self.kube.clock.elapsed)
        done = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often",
                 "lastTransitionTime": stamp}]  # fmt: skip
        self.kube.put({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "migrate", "namespace": "default", "uid": "job", "creationTimestamp": stamp,
                         "annotations": {"helm.sh/hook": "pre-upgrade"}},
            "spec": {"backoffLimit": 0, "template": {"spec": {"containers": [{"name": "m", "image": "m:1"}]}}},
            "status": {"startTime": stamp, **({"failed": 1, "conditions": done} if failed and judged else {})},
        })  # fmt: skip
        ended = {"exitCode": 1, "reason": "Error", "startedAt": stamp, "finishedAt": stamp}
        state = {"terminated": ended} if failed else {"running": {"startedAt": stamp}}
        self.kube.put({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "migrate-x", "namespace": "default", "uid": "pod", "creationTimestamp": stamp,
                         "ownerReferences": [{"kind": "Job", "name": "migrate", "uid": "job"}]},
            "spec": {"containers": [{"name": "m", "image": "m:1"}], "nodeName": "node", "restartPolicy": "Never"},
            "status": {"phase": "Failed" if failed else "Running", "startTime": stamp,
                       "conditions": [{"type": "PodScheduled", "status": "True"}],
                       "containerStatuses": [{"name": "m", "image": "m:1", "ready": not failed, "restartCount": 0,
                                              "state": state, "lastState": {}}]},
        })  # fmt: skip
        self.kube.container_logs["default", "migrate-x", "m", False] = list(log)

    def attempt(self, number: int, log: str, *, running: bool = False) -> None:
        """The hook's Job in its attempt of that number, those before having ended with this log."""
        self.job(failed=True, judged=False, log=(log,))
        job = self.kube.get("Job", "default", "migrate")
        pod = self.kube.get("Pod", "default", "migrate-x")
        assert job is not None and pod is not None
        ended = number - running
        self.kube.put({**job, "spec": {**job["spec"], "backoffLimit": 6}, "status": {**job["status"], "failed": ended}})
        self.kube.drop("Pod", "default", "migrate-x")
        for at in range(number):
            name = f"migrate-{at}"
            own = {**pod, "metadata": {**pod["metadata"], "name": name, "uid": name}}
            if running and at == ended:
                state = {"running": {"startedAt": pod["status"]["startTime"]}}
                row = {**pod["status"]["containerStatuses"][0], "state": state, "ready": True}
                own["status"] = {**pod["status"], "phase": "Running", "containerStatuses": [row]}
            self.kube.put(own)
            self.kube.container_logs["default", name, "m", False] = [log]

    def helm(self, work: Callable[[], None], error: DeployError | None = None) -> Steps[str]:
        """Helm, which has ended once `work` returns or it is stopped."""
        with on_stop(self.ended.set):
            work()
        if error is not None:
            raise error
        yield from ()
        return "done"

    def beside(self, work: Callable[[], None], error: DeployError | None = None) -> Steps[str]:
        at_work = HelmAtWork(
            "releases",
            (("web", "default"),),
            self.kube,
            self.kube.clock,
            Limits(60.0, 0.0, FailFast.BALANCED),
            12.0,
            lambda n, t: self.kept.update({n: t}),
        )
        return watched(self.helm(work, error), at_work)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def of(kind: type, events: list[Event]) -> list[Any]:
    return [one for one in events if isinstance(one, kind)]


def wait_until(what: Callable[[], object]) -> None:
    never = threading.Event()
    for _ in range(int(WAIT / 0.02)):
        if what():
            return
        never.wait(0.02)
    raise AssertionError("it did not come to that")


def test_without_hooks_nothing_is_watched(scene: Scene) -> None:
    scene.begin()
    events, value = played(scene.beside(lambda: None))
    assert (events, value) == ([], "done")


def test_the_log_of_a_hook_is_kept_before_its_job_goes(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.job(log=("one", "two"))
        wait_until(lambda: scene.kept)
        scene.kube.drop("Job", "default", "migrate")
        scene.kube.drop("Pod", "default", "migrate-x")

    events, _ = played(scene.beside(work))
    assert scene.kept == {"hooks/migrate-x.m.log": "one\ntwo\n"}
    assert [one.line for one in of(Log, events)] == ["one", "two"]
    assert ("releases", "job/migrate") in {(one.stage, one.item) for one in of(Item, events)}


def test_a_hook_that_cannot_succeed_is_named_and_ends_helm(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.job(failed=True, log=("no such table",))
        assert scene.ended.wait(WAIT), "helm was not stopped"

    events, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
    assert (code(error), error.exit_code) == ("HOOK_FAILED", ExitCode.NOTHING_SERVES)
    assert "job/migrate" in error.problems[0].where
    assert "no such table" in error.problems[0].detail
    assert [one.problem.code for one in of(Warned, events)] == ["HOOK_FAILED"]


def test_an_attempt_that_a_job_repeats_is_noted_and_waited_for(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.attempt(1, "boom")
        threading.Event().wait(1.5)

    events, done = played(scene.beside(work))
    said = [one.text for one in of(Item, events) if "`backoffLimit` of 6" in one.text]
    assert done == "done"
    assert len(said) == 1 and "exit code 1: boom" in said[0]
    assert of(Warned, events) == []


CUSTOM = (
    "apiVersion: example.com/v1\nkind: ExternalSecret\nmetadata: {name: s, annotations: {helm.sh/hook: pre-upgrade}}\n"
)


@pytest.mark.parametrize("custom", [False, True])
def test_a_secret_that_the_controller_of_another_hook_may_make_is_waited_for(scene: Scene, custom: bool) -> None:
    scene.begin(*([hook(CUSTOM)] if custom else []), hook())

    def work() -> None:
        scene.job()
        pod = scene.kube.get("Pod", "default", "migrate-x")
        assert pod is not None
        waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}
        row = {**pod["status"]["containerStatuses"][0], "state": waiting}
        scene.kube.put({**pod, "status": {**pod["status"], "phase": "Pending", "containerStatuses": [row]}})
        assert scene.ended.wait(1.5 if custom else WAIT) is not custom

    if custom:
        events, _ = played(scene.beside(work))
        assert "a controller may make it" in " ".join(one.text for one in of(Item, events))
    else:
        _, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
        assert "secret `s`" in error.problems[0].title


def test_a_hook_that_is_tried_again_after_helms_time_ends_helm(scene: Scene) -> None:
    """The third attempt would begin 20 s after the second: helm waits 12 s."""
    scene.begin(hook())

    def work() -> None:
        scene.attempt(2, "boom")
        assert scene.ended.wait(WAIT), "helm was not stopped"

    _, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
    assert code(error) == "HOOK_FAILED"
    assert "boom" in error.problems[0].title
    assert "time limit of 12.0 s" in error.problems[0].detail


def test_a_hook_in_its_last_attempt_is_waited_for(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.attempt(3, "boom", running=True)
        threading.Event().wait(1.0)

    assert played(scene.beside(work))[1] == "done"


@pytest.mark.parametrize(("attempts", "ends"), [(1, False), (3, True)])
def test_a_cause_that_the_log_names_ends_helm_at_the_third_attempt(scene: Scene, attempts: int, ends: bool) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.attempt(attempts, "ModuleNotFoundError: No module named 'alembic'", running=attempts == 1)
        assert scene.ended.wait(1.5) is ends

    if not ends:
        assert played(scene.beside(work))[1] == "done"
        return
    _, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
    assert code(error) == "MODULE_MISSING"


def test_a_service_that_helm_makes_after_the_hook_is_not_waited_for(scene: Scene) -> None:
    scene.begin(hook())
    secret = scene.kube.get("Secret", "default", storage.secret_name("web", 2))
    assert secret is not None
    manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\n"
    document = {**storage.decode(secret), "manifest": manifest}
    scene.kube.put({**secret, "data": {"release": storage.encode(document)}})

    def work() -> None:
        scene.attempt(1, 'could not translate host name "db" to address')
        assert scene.ended.wait(WAIT), "helm was not stopped"

    _, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
    assert code(error) == "HOOK_FAILED"
    assert "helm makes service/db only after these hooks" in error.problems[0].detail


def test_helms_own_failure_is_reported_in_the_hooks_words(scene: Scene) -> None:
    """A hook whose Job helm has taken away by the time the failure is reported."""
    scene.begin(hook())

    def work() -> None:
        scene.job(log=("halfway", "division by zero"))
        wait_until(lambda: scene.kept)

    _, error = failed(scene.beside(work, DeployError(Problem("HOOK_FAILED", "a hook", "helm's"), ExitCode.INPUT)))
    assert (code(error), error.exit_code) == ("HOOK_FAILED", ExitCode.NOTHING_SERVES)
    assert error.problems[0].detail.splitlines() == ["helm's", "halfway", "division by zero"]


def test_a_hook_that_still_ran_when_its_time_was_over_is_named(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.job(log=("migrating",))
        wait_until(lambda: scene.kept)
        threading.Event().wait(0.4)

    over = "Error: UPGRADE FAILED: pre-upgrade hooks failed: timed out waiting for the condition"
    _, error = failed(scene.beside(work, DeployError(Problem("HOOK_FAILED", "a hook", over), ExitCode.NOTHING_SERVES)))
    first = error.problems[0]
    assert (code(error), first.where) == ("HOOK_TIMEOUT", "job/migrate")
    assert "12.0 s" in first.title and "migrating" in first.detail
    assert any("timeout" in hint for hint in first.hints)


def test_a_hook_that_goes_on_is_shown_with_its_time_its_limit_and_its_log(scene: Scene) -> None:
    scene.begin(hook())
    logs = scene.kube.container_logs

    def work() -> None:
        scene.job(log=tuple(f"round {number}" for number in range(3)))
        wait_until(lambda: scene.kept)
        logs["default", "migrate-x", "m", False] = [f"round {number}" for number in range(2, 5)]
        scene.kube.clock.sleep(11)
        wait_until(lambda: "round 4" in scene.kept["hooks/migrate-x.m.log"])
        threading.Event().wait(0.4)

    events, _ = played(scene.beside(work))
    first, then = [one.text for one in of(Item, events)]
    assert "for 0 s of at most 12 s" in first and first.endswith("round 2")
    assert "for 11 s of at most 12 s" in then and then.endswith("round 4")
    assert [one.line for one in of(Log, events)] == [f"round {number}" for number in range(5)]


def test_a_pod_that_is_a_hook_runs_until_it_has_ended(scene: Scene) -> None:
    manifest = JOB.replace("batch/v1", "v1").replace("Job", "Pod").replace("migrate", "migrate-x")
    scene.begin(hook(manifest))

    def work() -> None:
        scene.job(log=("serving",))
        pod = scene.kube.get("Pod", "default", "migrate-x")
        assert pod is not None
        status = {**pod["status"], "conditions": [{"type": "Ready", "status": "True"}]}
        status["containerStatuses"] = [{**status["containerStatuses"][0], "ready": True}]
        scene.kube.put({**pod, "metadata": {**pod["metadata"], "ownerReferences": []}, "status": status})
        wait_until(lambda: scene.kept)
        threading.Event().wait(0.4)

    over = DeployError(Problem("HOOK_FAILED", "a hook", "context deadline exceeded"), ExitCode.NOTHING_SERVES)
    events, error = failed(scene.beside(work, over))
    assert {one.state for one in of(Item, events)} == {ItemState.RUNNING}
    assert (code(error), error.problems[0].where) == ("HOOK_TIMEOUT", "pod/migrate-x")


def test_the_hooks_of_a_release_that_goes_are_watched_too(scene: Scene) -> None:
    scene.begin(hook(JOB, "pre-delete"), status="uninstalling")

    def work() -> None:
        scene.job(failed=True, log=("still in use",))
        assert scene.ended.wait(WAIT), "helm was not stopped"

    _, error = failed(scene.beside(work, DeployError(Problem("HELM_FAILED", "cancelled"), ExitCode.INPUT)))
    assert code(error) == "HOOK_FAILED" and "still in use" in error.problems[0].detail


def test_a_job_that_an_earlier_removal_left_is_not_this_ones(scene: Scene) -> None:
    scene.begin(hook(JOB, "pre-delete"), status="uninstalling")
    scene.job(failed=True, log=("long ago",))
    scene.kube.clock.sleep(60)
    events, done = played(scene.beside(lambda: threading.Event().wait(0.8) and None))
    assert (events, done, scene.kept) == ([], "done", {})


def test_a_hook_that_helm_judged_first_is_a_failed_hook_whatever_its_pod_showed(scene: Scene) -> None:
    scene.begin(hook())

    def work() -> None:
        scene.job(failed=True, judged=False, log=("no such table",))
        wait_until(lambda: scene.kept)
        threading.Event().wait(0.4)

    _, error = failed(scene.beside(work, DeployError(Problem("HOOK_FAILED", "a hook"), ExitCode.INPUT)))
    assert code(error) == "HOOK_FAILED"
    assert error.problems[0].title.startswith("a hook failed: job/migrate")
    assert "no such table" in error.problems[0].detail


def test_a_failure_of_another_kind_is_left_as_it_is(scene: Scene) -> None:
    scene.begin()
    wanted = DeployError(Problem("NODE_PORT_TAKEN", "taken"), ExitCode.INPUT)
    _, error = failed(scene.beside(lambda: None, wanted))
    assert error is wanted


def test_the_job_of_an_earlier_revision_is_not_this_ones(scene: Scene) -> None:
    scene.job(failed=True, log=("long ago",))
    scene.kube.clock.sleep(60)
    scene.begin(hook())
    events, _ = played(scene.beside(lambda: threading.Event().wait(0.8) and None))
    assert (events, scene.kept) == ([], {})


def test_only_the_hooks_of_the_operation_count() -> None:
    document = {"hooks": [hook(JOB, "test"), hook(JOB, "post-install"), hook(JOB, "pre-upgrade", "pre-install")]}
    assert len(pending_hooks(document, "pending-upgrade", "default")) == 1
    assert len(pending_hooks(document, "pending-install", "default")) == 2
    assert pending_hooks(document, "pending-rollback", "default") == ()
    assert pending_hooks({"hooks": [hook("kind: [", "pre-install")]}, "pending-install", "default") == ()
