from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from deployer.config.spec import FailFast, ServiceRollout
from deployer.config.spec import Rollout as Rules
from deployer.core.errors import DeployError, ExitCode, machine_error
from deployer.core.events import Event, Item, Warned, WorkloadChanged
from deployer.core.ports import ObjectRef, PodAnswer
from deployer.core.steps import Outcome, Steps
from deployer.rollout.observe import Lookup, lookup_of, no_lookup
from deployer.rollout.stage import (
    Limits,
    Rollout,
    ServiceLimits,
    await_rollout,
    limits_from,
    take_snapshot,
    workloads_of,
)
from deployer.status import Phase, WorkloadRef, WorkloadStatus
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, played
from tests.fakes.workloads import object_ref, ref, show

TICK = 1.0
BACK_OFF = ("CrashLoopBackOff", "back-off 10s restarting failed container")
NEVER_PULL = ("ErrImageNeverPull", 'Container image "api:1" is not present with pull policy of Never')


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


def rollout(
    kube: FakeKube,
    *names: str,
    changed: bool = True,
    look: Lookup = no_lookup,
    kinds: tuple[str, ...] = (),
    since: float | None = None,
    **given: Any,
) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """The steps of a rollout, judged by the defaults of these tests but for what is given."""
    limits = replace(Limits(timeout=60.0, hold=5.0, profile=FailFast.BALANCED), **given)
    refs = [ref(name) for name in names or ("api",)]
    begun = since if since is not None else kube.clock.now()
    return await_rollout(Rollout(tuple(refs), kube, kube.clock, limits, begun, changed, look, kinds=kinds))


def phases(events: list[Event]) -> list[tuple[str, str]]:
    return [(one.status.ref.name, one.status.phase.value) for one in events if isinstance(one, WorkloadChanged)]


def named(events: list[Event]) -> list[str]:
    return [one.problem.code for one in events if isinstance(one, Warned) and not one.further]


def further(events: list[Event]) -> list[str]:
    return [one.problem.where for one in events if isinstance(one, Warned) and one.further]


def test_a_rollout_is_followed_to_its_end_and_held(kube: FakeKube) -> None:
    kube.clock.at(2, lambda: show(kube, "api", ready=False))
    kube.clock.at(6, lambda: show(kube, "api"))
    events, outcome = played(rollout(kube))
    assert phases(events) == [("api", "Pending"), ("api", "Progressing"), ("api", "Available")]
    assert [status.phase for status in outcome.value] == [Phase.AVAILABLE]
    assert outcome.text == "1 workload available, 1/1 pods ready"
    assert 11 <= kube.clock.elapsed < 11 + 3 * TICK


def test_the_end_of_a_rollout_is_seen_when_it_comes_and_not_at_the_next_look(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    kube.clock.at(6.2, lambda: show(kube, "api"))
    played(rollout(kube, hold=0))
    assert 6.2 <= kube.clock.elapsed < 6.3


def test_a_controller_that_is_ahead_of_its_pods_is_not_asked_without_end(kube: FakeKube) -> None:
    looks: list[float] = []

    class Ahead(FakeKube):
        def list(self, kind: str, *args: object, **more: object) -> list[dict[str, object]]:
            if kind == "Deployment":
                looks.append(self.clock.elapsed)
            return super().list(kind, *args, **more)  # type: ignore[arg-type]

    ahead = Ahead(kube.clock)
    show(ahead, "api", ready=False)
    deployment = ahead.get("Deployment", "default", "api")
    assert deployment is not None
    done = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
    ahead.put({**deployment, "status": done})
    kube.clock.at(10, lambda: show(ahead, "api"))
    played(rollout(ahead, hold=0))
    assert 10 <= ahead.clock.elapsed < 10 + TICK
    assert min(later - look for look, later in pairwise(looks[:-1])) > 0.4


def test_all_workloads_are_awaited(kube: FakeKube) -> None:
    show(kube, "web")
    kube.clock.at(8, lambda: show(kube, "api"))
    _, outcome = played(rollout(kube, "api", "web", hold=0))
    assert [status.ref.name for status in outcome.value] == ["api", "web"]
    assert 8 <= kube.clock.elapsed < 8 + 2 * TICK


def test_nothing_changed_and_healthy_takes_no_time(kube: FakeKube) -> None:
    show(kube, "api")
    events, _ = played(rollout(kube, changed=False))
    assert kube.clock.elapsed == 0
    assert not any(isinstance(one, Item) for one in events)


def test_an_unchanged_workload_that_is_down_is_waited_for_without_a_hold(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    kube.clock.at(3, lambda: show(kube, "api"))
    played(rollout(kube, changed=False))
    assert 3 <= kube.clock.elapsed < 3 + 2 * TICK


def test_a_status_is_reported_once(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    kube.clock.at(20, lambda: show(kube, "api"))
    events, _ = played(rollout(kube, hold=0))
    assert phases(events) == [("api", "Progressing"), ("api", "Available")]


@pytest.mark.parametrize("ready", [True, False])
def test_one_crash_during_the_hold_fails_it(kube: FakeKube, ready: bool) -> None:
    """Also one that is over before the next look, and is no crash loop."""
    kube.container_logs["default", "api-pod", "api", ready] = ["boom"]
    show(kube, "api")
    kube.clock.at(4.5, lambda: show(kube, "api", ready=ready, restarts=1, crashed=1))
    _, error = failed(rollout(kube))
    assert (code(error), "boom" in error.problems[0].title) == ("CRASH_LOOP", ready)
    assert kube.clock.elapsed < 5 + TICK


def test_a_crash_before_the_first_look_of_the_hold_fails_it(kube: FakeKube) -> None:
    """As `up` does it: the URLs are asked between both watches of the same rollout."""
    show(kube, "api")
    limits = Limits(60.0, 5.0, FailFast.BALANCED)
    made = Rollout((ref("api"),), kube, kube.clock, limits, kube.clock.now())
    played(await_rollout(made.without_hold))
    show(kube, "api", restarts=1, crashed=1)
    _, error = failed(await_rollout(made))
    assert code(error) == "CRASH_LOOP"


def test_a_patient_hold_starts_anew_after_a_crash(kube: FakeKube) -> None:
    show(kube, "api")
    kube.clock.at(3, lambda: show(kube, "api", restarts=1, crashed=1))
    played(rollout(kube, profile=FailFast.PATIENT))
    assert kube.clock.elapsed >= 8


def with_liveness(kube: FakeKube, name: str, liveness: dict[str, Any], **more: Any) -> None:
    """The pod that is shown has the probe, and was made in this run."""
    found = kube.get("Pod", "default", f"{name}-pod")
    node = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}]}
    kube.put({"kind": "Node", "metadata": {"name": "node"}, "status": node})
    assert found is not None
    found["metadata"]["creationTimestamp"] = kube.clock.stamp(kube.clock.elapsed)
    found["spec"]["containers"][0] |= {"livenessProbe": liveness, **more}
    kube.put(found)


def unhealthy(kube: FakeKube, name: str, reason: str = "Unhealthy", text: str = "Liveness probe failed: 500") -> None:
    about = {"kind": "Pod", "name": f"{name}-pod", "uid": f"pod-{name}", "fieldPath": f"spec.containers{{{name}}}"}
    kube.put({"kind": "Event", "metadata": {"name": f"{name}.{kube.clock.elapsed}", "namespace": "default"},
              "reason": reason, "message": text, "involvedObject": about, "count": 1,
              "lastTimestamp": kube.clock.stamp(kube.clock.elapsed)})  # fmt: skip


SLOW = {"exec": {"command": ["true"]}, "initialDelaySeconds": 15, "periodSeconds": 10}


def test_the_hold_lasts_until_each_liveness_probe_was_asked(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW)
    played(rollout(kube, kinds=("Node",)))
    assert 20 <= kube.clock.elapsed < 30  # asked at 20 s, for at most 1 s


def test_a_liveness_probe_that_fails_is_waited_for_until_it_kills(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW)
    for at in (20, 30, 40):
        kube.clock.at(at, partial(unhealthy, kube, "api"))
    killing = "Container api failed liveness probe, will be restarted"
    kube.clock.at(40, partial(unhealthy, kube, "api", "Killing", killing))
    _, error = failed(rollout(kube))
    assert code(error) == "LIVENESS_PROBE"
    assert 40 <= kube.clock.elapsed < 40 + 2 * TICK


def test_a_liveness_probe_that_fails_at_the_end_of_the_time_is_no_success(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW)
    for at in range(20, 60, 10):
        kube.clock.at(at, partial(unhealthy, kube, "api"))
    _, error = failed(rollout(kube, timeout=45))
    assert code(error) == "LIVENESS_PROBE"
    assert 45 <= kube.clock.elapsed < 45 + 2 * TICK


def test_a_liveness_probe_that_recovers_is_a_success(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW)
    kube.clock.at(20, partial(unhealthy, kube, "api"))
    played(rollout(kube))
    assert 31 <= kube.clock.elapsed < 38


def test_what_another_probe_or_we_have_asked_already_is_not_waited_for(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW, readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1})
    show(kube, "web")
    http = {"httpGet": {"port": 80, "path": "/live"}, "periodSeconds": 100}
    with_liveness(kube, "web", http, readinessProbe={"tcpSocket": {"port": 80}})
    kube.pod_servers["default", "web-pod", 80] = lambda *_: PodAnswer(200, {})
    played(rollout(kube, "api", "web"))
    assert kube.clock.elapsed < 5 + 2 * TICK
    kube.pod_servers["default", "web-pod", 80] = lambda *_: PodAnswer(500, {})
    played(rollout(kube, "web", since=kube.clock.now() - kube.clock.elapsed))
    assert kube.clock.elapsed > 60  # the rollout's time


def test_a_container_that_crashed_before_has_to_run_for_longer_than_the_last_time(kube: FakeKube) -> None:
    show(kube, "api", restarts=2, crashed=1)
    pod = kube.get("Pod", "default", "api-pod")
    assert pod is not None
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    ended["startedAt"] = kube.clock.stamp(-11)
    kube.put(pod)
    kube.clock.at(11, lambda: show(kube, "api", restarts=3, crashed=1))
    _, error = failed(rollout(kube, hold=2.0, since=kube.clock.now() - 1))
    assert code(error) == "CRASH_LOOP"


def test_pods_from_before_the_run_are_not_waited_for(kube: FakeKube) -> None:
    show(kube, "api")
    with_liveness(kube, "api", SLOW)
    kube.clock.sleep(2)
    played(rollout(kube))
    assert kube.clock.elapsed < 2 + 5 + 2 * TICK


def test_what_no_waiting_can_mend_fails_at_once(kube: FakeKube) -> None:
    kube.clock.at(2, lambda: show(kube, "api", ready=False, waiting=NEVER_PULL))
    events, error = failed(rollout(kube))
    assert (code(error), error.exit_code) == ("IMAGE_NEVER_PULL", ExitCode.NOTHING_SERVES)
    assert named(events) == ["IMAGE_NEVER_PULL"]
    assert kube.clock.elapsed < 2 + 2 * TICK


def test_a_healthy_neighbour_does_not_hide_the_cause(kube: FakeKube) -> None:
    show(kube, "web")
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    _, error = failed(rollout(kube, "web", "api"))
    assert code(error) == "IMAGE_NEVER_PULL"


def test_of_two_causes_the_first_is_named_and_the_other_is_for_those_who_ask(kube: FakeKube) -> None:
    for name in ("api", "web"):
        show(kube, name, ready=False, waiting=NEVER_PULL)
    events, error = failed(rollout(kube, "api", "web"))
    assert named(events) == ["IMAGE_NEVER_PULL"]
    assert [where.partition("/")[2].partition("/")[0] for where in further(events)] == ["web"]
    assert "api" in error.problems[0].where


def test_what_comes_first_later_on_is_named_then(kube: FakeKube) -> None:
    show(kube, "api", ready=False, waiting=("ImagePullBackOff", "dial tcp: i/o timeout"))
    show(kube, "web", ready=False, waiting=("ErrImagePull", "connection refused"))
    kube.clock.at(6, partial(show, kube, "api"))
    events, _ = failed(rollout(kube, "api", "web", timeout=20))
    assert named(events) == ["IMAGE_NETWORK"] * 2
    assert len(further(events)) == 1


def test_a_crash_loop_fails_after_it_is_confirmed_with_its_last_words(kube: FakeKube) -> None:
    kube.container_logs["default", "api-pod", "api", True] = ["starting", "fatal: DATABASE_URL is not set"]
    for restarts in range(1, 5):
        kube.clock.at(5 * restarts, partial(show, kube, "api", ready=False, restarts=restarts, waiting=BACK_OFF,
                                            crashed=1))  # fmt: skip
    _, error = failed(rollout(kube))
    assert error.exit_code == ExitCode.NOTHING_SERVES
    assert "DATABASE_URL is not set" in error.problems[0].title + error.problems[0].detail
    assert 5 < kube.clock.elapsed < 25


def test_a_patient_profile_waits_longer_than_a_strict_one() -> None:
    took: dict[FailFast, float] = {}
    for profile in FailFast:
        kube = FakeKube(FakeClock())
        for restarts in range(1, 12):
            kube.clock.at(5 * restarts, partial(show, kube, "api", ready=False, restarts=restarts, waiting=BACK_OFF,
                                                crashed=restarts))  # fmt: skip
        failed(rollout(kube, profile=profile, timeout=300))
        took[profile] = kube.clock.elapsed
    assert took[FailFast.STRICT] < took[FailFast.BALANCED] < took[FailFast.PATIENT] < 60


def crashing(kube: FakeKube, name: str, *, every: float = 5.0, until: float = 60.0, log: str = "boom") -> None:
    """The container ends again and again, each time with another exit code, until it is up for good."""
    kube.container_logs["default", f"{name}-pod", name, True] = [log]
    show(kube, name, ready=False)
    for number in range(1, int(until / every)):
        kube.clock.at(every * number, partial(show, kube, name, ready=False, restarts=number, waiting=BACK_OFF,
                                              crashed=number))  # fmt: skip
    kube.clock.at(until, partial(show, kube, name, restarts=int(until / every)))


def test_one_service_may_have_a_longer_grace_period_than_the_others(kube: FakeKube) -> None:
    crashing(kube, "api", until=24)
    _, error = failed(rollout(kube))
    assert code(error) == "CRASH_LOOP"
    again = FakeKube(FakeClock())
    crashing(again, "api", until=24)
    played(rollout(again, services={"api": ServiceLimits(profile=FailFast.PATIENT)}))
    assert again.clock.elapsed > 24


def test_one_service_may_have_a_shorter_grace_period_than_the_others(kube: FakeKube) -> None:
    crashing(kube, "api", until=50)
    show(kube, "web")
    _, error = failed(rollout(kube, "api", "web", services={"api": ServiceLimits(profile=FailFast.STRICT)}))
    assert (code(error), kube.clock.elapsed < 5 + 2 * TICK) == ("CRASH_LOOP", True)


def test_a_service_may_have_a_deadline_of_its_own(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    kube.clock.at(50, lambda: show(kube, "api"))
    show(kube, "web")
    played(rollout(kube, "api", "web", timeout=10, services={"api": ServiceLimits(timeout=60)}, hold=0))
    assert 50 <= kube.clock.elapsed < 52


def test_what_is_late_is_blamed_for_it_and_not_a_neighbour_that_has_more_time(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    show(kube, "web", ready=False)
    _, error = failed(rollout(kube, "api", "web", timeout=40, services={"api": ServiceLimits(timeout=90)}))
    assert "web" in error.problems[0].where
    assert 40 < kube.clock.elapsed < 43


def test_a_service_that_ends_until_its_database_is_up_succeeds(kube: FakeKube) -> None:
    """In `balanced`, and however often it does: what it waits for is itself still starting."""
    log = 'psycopg.OperationalError: connection to server at "database", port 5432 failed: Connection refused'
    crashing(kube, "api", every=4, until=28, log=log)
    show(kube, "database", ready=False)
    kube.put({"kind": "Service", "metadata": {"name": "database", "namespace": "default"},
              "spec": {"selector": {"app": "database"}, "ports": [{"port": 5432}]}})  # fmt: skip
    kube.clock.at(28, partial(show, kube, "database"))
    events, _ = played(rollout(kube, "api", "database", timeout=120))
    assert named(events) == []
    assert kube.clock.elapsed > 28


def test_the_spec_says_how_services_are_judged_and_the_command_line_goes_before_it() -> None:
    rules = Rules(
        timeout="1m", hold="2s", fail_fast="strict", services={"api": ServiceRollout(timeout="5m", fail_fast="patient")}
    )
    api, web = ref("api"), ref("web")
    spec = limits_from(rules, 60.0)
    assert (spec.timeout_of(api), spec.timeout_of(web), spec.hold) == (300.0, 60.0, 2.0)
    assert (spec.profile_of(api), spec.profile_of(web)) == (FailFast.PATIENT, FailFast.STRICT)
    asked = limits_from(rules, 60.0, own_timeout=10.0, hold=0.0, profile=FailFast.BALANCED)
    assert {asked.timeout_of(api), asked.timeout_of(web)} == {10.0}
    assert (asked.profile_of(api), asked.hold) == (FailFast.BALANCED, 0.0)


@pytest.mark.parametrize(
    ("node", "host", "shown"),
    [
        ((), ("api:1",), "it is in the host's daemon, not in the cluster's"),
        (("web:1",), ("web:1",), "it is in neither daemon, the cluster's or the host's"),
    ],
)
def test_an_image_that_may_not_be_pulled_is_looked_for_in_both_daemons(
    kube: FakeKube, node: Sequence[str], host: Sequence[str], shown: str
) -> None:
    asked: list[str] = []

    def images(which: str, refs: Sequence[str]) -> Sequence[str]:
        asked.append(which)
        return refs

    look = lookup_of(kube, partial(images, "node", node), partial(images, "host", host))
    show(kube, "api", ready=False, waiting=NEVER_PULL)
    _, error = failed(rollout(kube, look=look))
    assert shown in error.problems[0].detail
    assert asked == ["node", "host"]


def test_a_daemon_that_does_not_answer_leaves_the_cause_as_it_is(kube: FakeKube) -> None:
    def gone() -> Sequence[str]:
        raise machine_error("DOCKER_UNREACHABLE", "gone")

    show(kube, "api", ready=False, waiting=NEVER_PULL)
    _, error = failed(rollout(kube, look=lookup_of(kube, lambda: ("web:1",), gone)))
    assert code(error) == "IMAGE_NEVER_PULL"
    assert "daemon" not in error.problems[0].detail


def test_a_missing_secret_has_its_near_miss_among_the_clusters_own(kube: FakeKube) -> None:
    kube.put({"kind": "Secret", "metadata": {"name": "app-secrets", "namespace": "default"}, "data": {"A": "eA=="}})
    show(kube, "api", ready=False, waiting=("CreateContainerConfigError", 'secret "app-secret" not found'))
    _, error = failed(rollout(kube, look=lookup_of(kube, lambda: (), lambda: ())))
    assert any("app-secrets" in hint for hint in error.problems[0].hints)


def killed(kube: FakeKube, restarts: int) -> None:
    """The container went over its limit, once more."""
    show(kube, "api", ready=False, restarts=restarts, waiting=BACK_OFF, crashed=137)
    pod = kube.get("Pod", "default", "api-pod")
    assert pod is not None
    pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] = "OOMKilled"
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    kube.put(pod)


@pytest.mark.parametrize(
    ("used", "shown"),
    [(60 * 2**20, "the most that the kubelet measured was 60.0 MiB, "), (0, "the kubelet measured none of its use")],
)
def test_memory_in_use_stands_beside_the_limit(kube: FakeKube, used: int, shown: str) -> None:
    show(kube, "api", ready=False)
    pod = kube.get("Pod", "default", "api-pod")
    assert pod is not None
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    kube.put(pod)
    kube.memory["node"] = {("default", "api-pod", "api"): used, ("other", "api-pod", "api"): 2**40}
    kube.clock.at(10, partial(killed, kube, 1))
    kube.clock.at(20, partial(killed, kube, 2))
    _, error = failed(rollout(kube, look=lookup_of(kube, lambda: (), lambda: ())))
    assert code(error) == "OOM_KILLED"
    assert f"memory limit 64Mi; {shown}" in error.problems[0].detail


def test_the_deadline_is_a_failure_that_says_how_things_stand(kube: FakeKube) -> None:
    show(kube, "api", ready=False)
    show(kube, "web")
    _, error = failed(rollout(kube, "api", "web", timeout=30))
    assert error.exit_code == ExitCode.NOTHING_SERVES
    assert 30 < kube.clock.elapsed < 30 + 3 * TICK
    shown = " ".join((error.problems[0].title, error.problems[0].detail, error.problems[0].where))
    assert "api" in shown


def test_the_deadline_counts_also_for_what_was_never_made(kube: FakeKube) -> None:
    with pytest.raises(DeployError):
        played(rollout(kube, timeout=5))
    assert kube.clock.elapsed < 5 + 3 * TICK


def test_requests_do_not_grow_with_the_number_of_workloads(kube: FakeKube) -> None:
    class Counting(FakeKube):
        asked = 0

        def list(self, *args: object, **more: object) -> list[dict[str, object]]:
            self.asked += 1
            return super().list(*args, **more)  # type: ignore[arg-type]

    counts = []
    for number in (1, 50):
        counting = Counting(FakeClock())
        take_snapshot([ref(f"w{index}") for index in range(number)], counting)
        counts.append(counting.asked)
    assert counts[0] == counts[1] <= 4


def test_only_the_kinds_that_matter_are_asked_for(kube: FakeKube) -> None:
    show(kube, "api")
    snapshot = take_snapshot([ref("api")], kube, events=False)
    assert [len(snapshot.deployments), len(snapshot.replicasets), len(snapshot.pods)] == [1, 1, 1]
    assert (snapshot.jobs, snapshot.statefulsets, snapshot.events) == ((), (), ())


def test_workloads_are_distinguished_from_other_objects_in_a_fixed_order() -> None:
    objects = [object_ref("web"), ObjectRef("Service", "default", "web"), ObjectRef("Job", "default", "seed")]
    assert [str(one) for one in workloads_of(objects)] == ["deployment/web", "job/seed"]


def test_a_release_without_workloads_is_available_at_once(kube: FakeKube) -> None:
    _, outcome = played(await_rollout(Rollout((), kube, kube.clock, Limits(60, 0, FailFast.BALANCED), 0)))
    assert outcome.value == ()


class Away(FakeKube):
    """Does not answer between two moments of the clock: when asked for these kinds, or for any where none is given."""

    def __init__(self, clock: FakeClock, begin: float, end: float, *kinds: str) -> None:
        self.begin, self.end, self.kinds = begin, end, kinds
        super().__init__(clock)

    def list(self, kind: str, *args: object, **more: object) -> list[dict[str, object]]:
        if self.begin <= self.clock.elapsed < self.end and (not self.kinds or kind in self.kinds):
            raise machine_error("API_UNREACHABLE", "the API server does not answer")
        return super().list(kind, *args, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kinds", [(), ("Node",)])
def test_an_outage_is_retried_whatever_was_being_asked(kinds: tuple[str, ...]) -> None:
    away = Away(FakeClock(), 2, 40, *kinds)
    show(away, "api", ready=False)
    away.clock.at(50, lambda: show(away, "api"))
    limits = Limits(120, 0, FailFast.BALANCED)
    _, outcome = played(
        await_rollout(Rollout((ref("api"),), away, away.clock, limits, away.clock.now(), kinds=("Node",)))
    )
    assert [status.phase for status in outcome.value] == [Phase.AVAILABLE]
    assert 50 <= away.clock.elapsed < 52


@pytest.mark.parametrize(("away_from", "ends_at"), [(10, 90), (999, 61)])
def test_a_controllers_deadline_that_ran_on_in_an_outage_does_not_end_the_rollout(
    away_from: float, ends_at: float
) -> None:
    away = Away(FakeClock(), away_from, 61)
    show(away, "api", ready=False)

    def late() -> None:
        deployment = away.get("Deployment", "default", "api")
        assert deployment is not None
        over = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        spec = {**deployment["spec"], "progressDeadlineSeconds": 60}
        away.put({**deployment, "spec": spec, "status": {**deployment["status"], "conditions": [over]}})

    away.clock.at(61, late)
    away.clock.at(90, lambda: show(away, "api"))
    limits = Limits(200, 0, FailFast.BALANCED)
    steps = await_rollout(Rollout((ref("api"),), away, away.clock, limits, away.clock.now()))
    if ends_at == 90:
        played(steps)
    else:
        failed(steps)
    assert ends_at <= away.clock.elapsed < ends_at + 2


def job(kube: FakeKube, **status: int) -> WorkloadRef:
    """A Job that was made now and whose pod runs."""
    metadata = {"name": "load", "namespace": "default", "uid": "job", "creationTimestamp": kube.clock.stamp()}
    status_ = {"startTime": kube.clock.stamp(), "active": 1, "ready": 1, **status}
    kube.put({"kind": "Job", "metadata": metadata, "spec": {"template": {}}, "status": status_})
    return WorkloadRef("default", "Job", "load")


def with_job(kube: FakeKube, load: WorkloadRef, *, changed: bool = True) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    limits = Limits(timeout=60.0, hold=0.0, profile=FailFast.BALANCED)
    return await_rollout(Rollout((ref("api"), load), kube, kube.clock, limits, kube.clock.now(), changed))


def test_a_job_that_goes_on_is_waited_for_no_longer_than_a_rollout_may_take(kube: FakeKube) -> None:
    show(kube, "api")
    load = job(kube)
    _, outcome = played(with_job(kube, load))
    assert 60 < kube.clock.elapsed < 60 + 3 * TICK
    assert [(one.ref.kind, one.phase) for one in outcome.value] == [
        ("Deployment", Phase.AVAILABLE), ("Job", Phase.PROGRESSING),
    ]  # fmt: skip
    begun = kube.clock.elapsed
    played(with_job(kube, load, changed=False))
    assert kube.clock.elapsed == begun


@pytest.mark.parametrize("status", [{"failed": 1}, {"ready": 0}])
def test_a_job_that_failed_or_does_not_run_fails_at_the_deadline(kube: FakeKube, status: dict[str, int]) -> None:
    show(kube, "api")
    assert code(failed(with_job(kube, job(kube, **status)))[1]) == "DEADLINE"


def test_what_a_job_has_made_is_seen_before_the_kubelet_tries_again(kube: FakeKube) -> None:
    show(kube, "api", waiting=("CreateContainerConfigError", 'secret "made" not found'))
    kube.put({"kind": "Secret", "metadata": {"name": "other", "namespace": "default"}})
    load = job(kube)
    done = kube.get("Job", "default", "load")
    assert done is not None
    over = {**done, "status": {**done["status"], "ready": 0, "conditions": [{"type": "Complete", "status": "True"}]}}
    kube.clock.at(4, lambda: kube.put({"kind": "Secret", "metadata": {"name": "made", "namespace": "default"}}))
    kube.clock.at(5, lambda: kube.put(over))
    kube.clock.at(12, lambda: show(kube, "api"))
    limits = Limits(timeout=60.0, hold=0.0, profile=FailFast.BALANCED)
    look = lookup_of(kube, None, None)
    refs = (ref("api"), load)
    _, outcome = played(await_rollout(Rollout(refs, kube, kube.clock, limits, kube.clock.now(), look=look)))
    assert [one.phase for one in outcome.value] == [Phase.AVAILABLE] * 2
