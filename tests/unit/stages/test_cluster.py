from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.config.spec import Cluster
from deployer.core.errors import ExitCode, machine_error
from deployer.core.events import Warned
from deployer.core.ports import ClusterFacts, NodeFacts
from deployer.core.steps import Steps
from deployer.stages import cluster as cluster_stage
from deployer.stages.cluster import Host, await_nodes, decide, differences, ensure_cluster, has_route, start_request
from deployer.status import ClusterPhase
from tests.fakes import FakeClock, FakeCluster, FakeKube
from tests.fakes.cluster import RUNNING
from tests.fakes.play import code, failed, items, played

BIG = Host(16, 32768)
WANTED = Cluster(name="c", cpus=2, memory="4g")
MISSING = ClusterFacts(ClusterPhase.MISSING)


@pytest.fixture(autouse=True)
def routed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's node is at an address that no machine has a way to."""
    monkeypatch.setattr(cluster_stage, "has_route", lambda address: address == RUNNING.node_ip)


def healthy(clock: FakeClock) -> FakeKube:
    kube = FakeKube(clock)
    kube.put(node("True"))
    kube.put({"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}})
    return kube


def node(ready: str) -> dict[str, object]:
    # Ready is not the last condition: its place in the list says nothing.
    conditions = [{"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": "True"}]
    return {"kind": "Node", "metadata": {"name": "c"}, "status": {"conditions": conditions}}


class Prepared:
    """Counts how often everything for a start was made ready."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> Steps[object]:
        self.count += 1
        yield from ()
        return None


@pytest.mark.parametrize(
    ("phase", "answers", "starts"),
    [
        (ClusterPhase.RUNNING, True, False),
        (ClusterPhase.RUNNING, False, True),
        (ClusterPhase.MISSING, False, True),
        (ClusterPhase.STOPPED, False, True),
        (ClusterPhase.PAUSED, False, True),
        (ClusterPhase.BROKEN, False, True),
        # Stale answers of a cluster that is not running do not keep it from being started.
        (ClusterPhase.PAUSED, True, True),
    ],
)
def test_only_a_cluster_that_runs_and_answers_is_left_alone(phase: ClusterPhase, answers: bool, starts: bool) -> None:
    assert decide(ClusterFacts(phase), answers).start is starts


def test_every_phase_has_a_reason_of_its_own() -> None:
    reasons = [decide(ClusterFacts(phase), False).reason for phase in ClusterPhase]
    assert all(reasons)
    assert len(set(reasons)) == len(reasons)


def test_a_broken_cluster_says_what_is_broken() -> None:
    facts = ClusterFacts(ClusterPhase.BROKEN, detail="the node's container is gone")
    assert decide(facts, False).reason == "the node's container is gone"


def test_the_wishes_are_granted_where_the_host_can() -> None:
    request, warnings = start_request(WANTED, BIG)
    assert (request.cpus, request.memory_mib, warnings) == (2, 4096, ())


@pytest.mark.parametrize(
    ("host", "cpus", "memory", "codes"),
    [
        (Host(1, 32768), 1, 4096, ["CLUSTER_CPUS"]),
        (Host(4, 4096), 2, 3072, ["CLUSTER_MEMORY"]),
        (Host(1, 4096), 1, 3072, ["CLUSTER_CPUS", "CLUSTER_MEMORY"]),
        (Host(2, 5120), 2, 4096, []),
        # Minikube refuses less than this; it is asked all the same, and says so itself.
        (Host(2, 2000), 2, 1800, ["CLUSTER_MEMORY"]),
    ],
)
def test_what_the_host_lacks_is_clamped_with_asked_and_given(
    host: Host, cpus: int, memory: int, codes: list[str]
) -> None:
    request, warnings = start_request(WANTED, host)
    assert (request.cpus, request.memory_mib) == (cpus, memory)
    assert [warning.code for warning in warnings] == codes
    for warning in warnings:
        asked, given = ("2 CPUs", str(cpus)) if warning.code == "CLUSTER_CPUS" else ("4096 MiB", str(memory))
        assert asked in warning.title
        assert given in warning.detail


def test_differences_name_what_the_spec_asks_and_what_there_is() -> None:
    facts = replace(RUNNING, cpus=1, kubernetes_version="v1.30.0")
    (problem,) = differences(WANTED, facts, BIG)
    assert "kubernetesVersion: the spec asks for v1.37.2, the cluster has v1.30.0" in problem.detail
    assert "cpus: the spec asks for 2, the cluster has 1" in problem.detail
    assert "memory" not in problem.detail


def test_a_clamped_cluster_does_not_differ_from_its_spec() -> None:
    facts = replace(RUNNING, cpus=1, memory_mib=3072)
    assert differences(WANTED, facts, Host(1, 4096)) == ()


def test_a_cluster_of_somebody_else_has_no_shape_to_compare() -> None:
    assert differences(WANTED, ClusterFacts(ClusterPhase.RUNNING), BIG) == ()


def test_a_healthy_cluster_is_neither_prepared_nor_started() -> None:
    clock, prepared, cluster = FakeClock(), Prepared(), FakeCluster()
    kube = healthy(clock)
    events, outcome = played(ensure_cluster(WANTED, cluster, lambda: kube, prepared, BIG, clock))
    assert (outcome.changed, outcome.value) == (False, (RUNNING, kube))
    assert (events, cluster.starts, prepared.count, clock.elapsed) == ([], [], 0, 0)


def test_a_missing_cluster_is_prepared_started_and_awaited() -> None:
    clock, prepared, cluster = FakeClock(), Prepared(), FakeCluster(MISSING)
    kube = healthy(clock)
    events, outcome = played(ensure_cluster(WANTED, cluster, lambda: kube, prepared, Host(1, 32768), clock))
    assert outcome.changed
    assert outcome.value[0].phase is ClusterPhase.RUNNING
    assert prepared.count == 1
    assert [(one.profile, one.cpus) for one in cluster.starts] == [("c", 1)]
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["CLUSTER_CPUS"]


def test_a_stopped_cluster_keeps_its_shape() -> None:
    clock = FakeClock()
    stopped = replace(RUNNING, phase=ClusterPhase.STOPPED, cpus=8, memory_mib=9000, kubernetes_version="v1.33.1")
    cluster = FakeCluster(stopped)
    played(ensure_cluster(WANTED, cluster, lambda: healthy(clock), Prepared(), Host(1, 2000), clock))
    (request,) = cluster.starts
    assert (request.cpus, request.memory_mib, request.kubernetes_version) == (8, 9000, "v1.33.1")


def test_a_running_cluster_gets_time_to_answer_before_it_is_started_again() -> None:
    clock, cluster = FakeClock(), FakeCluster()
    kube = healthy(clock)
    kube.is_ready = False
    clock.at(6, lambda: setattr(kube, "is_ready", True))
    _, outcome = played(ensure_cluster(WANTED, cluster, lambda: kube, Prepared(), BIG, clock))
    assert not outcome.changed
    assert cluster.starts == []
    assert 6 <= clock.elapsed < 8


def test_a_running_cluster_that_never_answers_is_started() -> None:
    clock = FakeClock()
    dead, alive = healthy(clock), healthy(clock)
    dead.is_ready = False
    clients = iter([dead, alive])
    cluster = FakeCluster()
    events, outcome = played(ensure_cluster(WANTED, cluster, lambda: next(clients), Prepared(), BIG, clock))
    assert outcome.value[1] is alive
    assert (cluster.woken, len(cluster.starts)) == (1, 1)
    assert ("c", "running", "its API server does not answer") in items(events)


@pytest.mark.parametrize("facts", [MISSING, ClusterFacts(ClusterPhase.STOPPED), RUNNING])
def test_a_kubelet_that_does_its_work_or_does_not_run_is_left_alone(facts: ClusterFacts) -> None:
    cluster = FakeCluster(facts)
    played(ensure_cluster(WANTED, cluster, lambda: healthy(FakeClock()), Prepared(), BIG, FakeClock()))
    assert cluster.woken == 0


def test_a_start_that_fails_is_raised_on() -> None:
    clock = FakeClock()
    cluster = FakeCluster(MISSING, failure=machine_error("CLUSTER_START", "no"))
    _, error = failed(ensure_cluster(WANTED, cluster, lambda: healthy(clock), Prepared(), BIG, clock))
    assert (code(error), error.exit_code) == ("CLUSTER_START", ExitCode.MACHINE)


def test_the_node_is_awaited_step_by_step() -> None:
    clock = FakeClock()
    kube = FakeKube(clock)
    kube.is_ready = False
    clock.at(2, lambda: setattr(kube, "is_ready", True))
    clock.at(4, lambda: kube.put(node("Unknown")))
    clock.at(6, lambda: kube.put(node("True")))
    account = {"kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    clock.at(8, lambda: kube.put(account))
    events, _ = played(await_nodes(kube, "c", clock))
    assert [text for _, _, text in items(events)] == [
        "waiting for the API server",
        "waiting for the node to be Ready",
        "waiting for the default service account",
    ]
    assert 8 <= clock.elapsed < 9


def test_a_node_that_is_never_ready_is_a_machine_error_that_says_what_lacks() -> None:
    clock = FakeClock()
    kube = FakeKube(clock)
    kube.put(node("False"))
    _, error = failed(await_nodes(kube, "c", clock))
    assert (code(error), error.exit_code) == ("CLUSTER_NOT_READY", ExitCode.MACHINE)
    assert error.problems[0].detail == "waiting for the node to be Ready"


def test_an_address_that_changed_is_written_before_anything_is_asked_there() -> None:
    """As after a start that was killed: another cluster may have been given the old address since."""
    clock = FakeClock()
    cluster = FakeCluster(replace(RUNNING, moved_from="https://127.0.0.1:32771"))
    asked: list[int] = []

    def connect() -> FakeKube:
        asked.append(cluster.contexts_written)
        return healthy(clock)

    events, outcome = played(ensure_cluster(WANTED, cluster, connect, Prepared(), BIG, clock))
    assert (outcome.changed, asked, cluster.starts) == (False, [1], [])
    assert any("https://127.0.0.1:32771" in text for _, _, text in items(events))


def test_what_a_killed_start_did_to_the_current_context_is_put_right_and_reported() -> None:
    clock = FakeClock()
    cluster = FakeCluster()
    cluster.left_by_a_kill = True
    events, _ = played(ensure_cluster(WANTED, cluster, lambda: healthy(clock), Prepared(), BIG, clock))
    assert any("before a kill" in text for _, _, text in items(events))
    assert not cluster.left_by_a_kill


def test_a_server_that_does_not_answer_is_reported_at_once() -> None:
    clock = FakeClock()
    kube = healthy(clock)
    kube.is_ready = False
    clock.at(6, lambda: setattr(kube, "is_ready", True))
    events, _ = played(ensure_cluster(WANTED, FakeCluster(), lambda: kube, Prepared(), BIG, clock))
    assert items(events)[0] == ("c", "running", "its API server does not answer; waiting for it")


def test_a_machine_without_a_network_is_named_at_once_and_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cluster = FakeClock(), FakeCluster()
    kube = healthy(clock)
    kube.is_ready = False
    monkeypatch.setattr(cluster_stage, "has_route", lambda _: False)
    _, error = failed(ensure_cluster(WANTED, cluster, lambda: kube, Prepared(), BIG, clock))
    assert (code(error), error.exit_code, clock.elapsed, cluster.starts) == ("NETWORK_DOWN", ExitCode.MACHINE, 0, [])


def test_this_machine_itself_is_always_on_the_way() -> None:
    assert has_route("127.0.0.1")
    assert not has_route("no address")


TWO = replace(RUNNING, nodes=(NodeFacts("c", True), NodeFacts("c-m02", True)))


def several(clock: FakeClock, *ready: str) -> FakeKube:
    kube = healthy(clock)
    for name in ready:
        kube.put({**node("True"), "metadata": {"name": name}})
    return kube


def test_nodes_that_run_and_are_ready_are_left_alone() -> None:
    clock, prepared, cluster = FakeClock(), Prepared(), FakeCluster(TWO)
    wanted = WANTED.model_copy(update={"nodes": 2})
    _, outcome = played(ensure_cluster(wanted, cluster, lambda: several(clock, "c-m02"), prepared, BIG, clock))
    assert (outcome.changed, prepared.count, cluster.nodes_started, cluster.woken) == (False, 0, [], 0)


def test_a_stopped_node_of_a_running_cluster_is_started_and_awaited() -> None:
    clock, prepared = FakeClock(), Prepared()
    kube = several(clock)
    kube.put({**node("Unknown"), "metadata": {"name": "c-m02"}})
    cluster = FakeCluster(replace(TWO, nodes=(TWO.nodes[0], NodeFacts("c-m02", False))))
    clock.at(3, lambda: kube.put({**node("True"), "metadata": {"name": "c-m02"}}))
    wanted = WANTED.model_copy(update={"nodes": 2})
    events, outcome = played(ensure_cluster(wanted, cluster, lambda: kube, prepared, BIG, clock))
    assert (outcome.changed, cluster.starts, cluster.nodes_started) == (True, [], ["c-m02"])
    assert outcome.value[0].nodes == TWO.nodes
    assert ("c", "running", "1 of 2 nodes are Ready") in items(events)
    assert 3 <= clock.elapsed < 5


def test_the_nodes_of_a_cluster_that_is_only_used_are_taken_as_they_are() -> None:
    clock, cluster = FakeClock(), FakeCluster(replace(TWO, nodes=(TWO.nodes[0], NodeFacts("c-m02", False))))
    wanted = WANTED.model_copy(update={"provider": "context", "context": "kind-c"})
    _, outcome = played(ensure_cluster(wanted, cluster, lambda: several(clock), Prepared(), BIG, clock))
    assert (outcome.changed, cluster.nodes_started, clock.elapsed) == (False, [], 0)


@pytest.mark.parametrize("known", [True, False])
def test_the_kubelet_of_a_node_that_runs_and_is_not_ready_begins_anew(known: bool) -> None:
    clock, cluster = FakeClock(), FakeCluster(TWO)
    kube = several(clock)
    if known:
        kube.put({**node("Unknown"), "metadata": {"name": "c-m02"}})
    clock.at(3, lambda: kube.put({**node("True"), "metadata": {"name": "c-m02"}}))
    wanted = WANTED.model_copy(update={"nodes": 2})
    _, outcome = played(ensure_cluster(wanted, cluster, lambda: kube, Prepared(), BIG, clock))
    assert (outcome.changed, cluster.nodes_woken, cluster.nodes_started) == (True, ["c-m02"], [])


def test_a_cluster_for_several_nodes_gets_those_that_the_spec_asks_for() -> None:
    clock, cluster = FakeClock(), FakeCluster(TWO)
    wanted = WANTED.model_copy(update={"nodes": 3})
    _, outcome = played(
        ensure_cluster(wanted, cluster, lambda: several(clock, "c-m02", "c-m03"), Prepared(), BIG, clock)
    )
    assert [one.name for one in outcome.value[0].nodes] == ["c", "c-m02", "c-m03"]
    assert differences(wanted, TWO, BIG) == ()


ONE = replace(RUNNING, nodes=(NodeFacts("c", True),))


@pytest.mark.parametrize(
    ("asked", "facts", "way"),
    [
        (2, ONE, "todo-deploy up --recreate-cluster"),  # its network is for one
        (1, TWO, "minikube node delete c-m02 --profile c"),  # what runs on a node goes with it
    ],
)
def test_nodes_that_cannot_be_added_or_are_not_asked_for_are_named(asked: int, facts: ClusterFacts, way: str) -> None:
    clock, cluster = FakeClock(), FakeCluster(facts)
    kube, wanted = several(clock, "c-m02"), WANTED.model_copy(update={"nodes": asked})
    events, outcome = played(ensure_cluster(wanted, cluster, lambda: kube, Prepared(), BIG, clock))
    (problem,) = [each.problem for each in events if isinstance(each, Warned)]
    assert (problem.code, outcome.changed, outcome.value[0]) == ("CLUSTER_DIFFERS", False, facts)
    assert "nodes" in problem.detail and way in problem.hints


def test_memory_is_for_each_node() -> None:
    wanted = WANTED.model_copy(update={"nodes": 3})
    request, (problem,) = start_request(wanted, Host(16, 10_240))
    assert (request.nodes, request.memory_mib, problem.code) == (3, 3072, "CLUSTER_MEMORY")
