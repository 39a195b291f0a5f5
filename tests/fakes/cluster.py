"""A Minikube profile in memory."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, ItemState, Log
from deployer.core.ports import ClusterFacts, NodeFacts, StartRequest
from deployer.status import ClusterPhase
from tests.fakes.images import HERE

RUNNING = ClusterFacts(ClusterPhase.RUNNING, "192.0.2.10", HERE, "docker", "v1.37.2", 2, 4096)


class FakeCluster:
    """Starts at once, unless `failure` says otherwise; `starts` are the requests it was given. With `foreign`, it is
    another user's."""

    def __init__(self, facts: ClusterFacts = RUNNING, failure: DeployError | None = None) -> None:
        self.current = facts
        self.failure = failure
        self.foreign: DeployError | None = None
        self.starts: list[StartRequest] = []
        self.removed: list[str] = []
        self.addons: list[str] = []
        self.contexts_written = 0
        self.woken = 0
        self.nodes_woken: list[str] = []
        self.nodes_started: list[str] = []
        self.left_by_a_kill = False

    def facts(self) -> ClusterFacts:
        if self.foreign is not None:
            raise self.foreign
        return self.current

    def start(self, request: StartRequest) -> Generator[Event, None, None]:
        self.starts.append(request)
        yield Item("cluster", request.profile, ItemState.RUNNING, "starting Minikube")
        if self.failure is not None:
            raise self.failure
        self.current = replace(
            RUNNING,
            driver=request.driver,
            kubernetes_version=request.kubernetes_version,
            cpus=request.cpus,
            memory_mib=request.memory_mib,
        )
        yield Item("cluster", request.profile, ItemState.DONE, "Minikube runs")

    def start_node(self, name: str) -> Generator[Event, None, None]:
        self.nodes_started.append(name)
        nodes = tuple(replace(one, running=True) if one.name == name else one for one in self.current.nodes)
        self.current = replace(self.current, nodes=nodes)
        yield Item("cluster", name, ItemState.DONE)

    def add_node(self) -> Generator[Event, None, None]:
        name = f"c-m{len(self.current.nodes) + 1:02}"
        self.current = replace(self.current, nodes=(*self.current.nodes, NodeFacts(name, True)))
        yield Item("cluster", name, ItemState.DONE)

    def wake(self, node: str = "") -> None:
        self.woken += 1
        self.nodes_woken.append(node)

    def delete(self) -> Generator[Event, None, None]:
        self.facts()
        self.current = ClusterFacts(ClusterPhase.MISSING)
        yield from ()

    def write_context(self) -> None:
        self.contexts_written += 1
        self.current = replace(self.current, moved_from="")

    def restore_context(self) -> bool:
        restored, self.left_by_a_kill = self.left_by_a_kill, False
        return restored

    def enable_addon(self, name: str) -> Generator[Event, None, None]:
        self.addons.append(name)
        yield Log("cluster", name, f"The '{name}' addon is enabled")

    def remove_folder(self, path: str) -> None:
        self.removed.append(path)
