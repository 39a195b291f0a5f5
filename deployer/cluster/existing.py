"""An existing cluster that the tool only uses: its context is named in the spec, and it is never started or stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.core.errors import DeployError, machine_error, refused
from deployer.core.events import Event
from deployer.core.objects import fitted
from deployer.core.ports import ClusterFacts, KubePort, NodeFacts, Object, StartRequest
from deployer.kube.rights import listed
from deployer.status import ClusterPhase
from deployer.status.objects import dig, has_condition, name_of, rows

_MAKERS = {"io.x-k8s.kind.cluster", "k3d.cluster", "created_by.minikube.sigs.k8s.io"}
"""Labels by which kind, k3d and Minikube mark the containers of their nodes."""
_CONTAINER = {
    "State": {"Running": bool}, "Config": {"Labels": {"*": str}},
    "NetworkSettings": {"Networks": {"*": {"IPAddress": str}}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Container:
    """A container of a node's name: the networks it is in, and whether it has the node's address there."""

    facts: NodeFacts
    networks: frozenset[str]
    at_its_address: bool


class ContextCluster:
    """The cluster behind a kubeconfig context."""

    def __init__(
        self, context: str, connect: Callable[[], KubePort], inspect: Callable[[str], Mapping[str, Any] | None]
    ) -> None:
        self._context = context
        self._connect = connect
        self._inspect = inspect

    def facts(self) -> ClusterFacts:
        """Whether its API server answers, and the address of a node that is Ready, where nodes may be listed."""
        kube = self._connect()
        if not kube.ready():
            return ClusterFacts(ClusterPhase.STOPPED)
        nodes = listed(kube, "Node") or []
        known = next((one for one in nodes if has_condition(one, "Ready")), {})
        internal = next((str(dig(one, "address")) for one in rows(known, "status", "addresses")
                         if one.get("type") == "InternalIP"), None)  # fmt: skip
        seen = [one for node in nodes if (one := self._container(node)) is not None]
        # Docker gives one that is stopped no address: it is of this cluster if it is in the network of one that runs.
        own = frozenset(name for one in seen if one.at_its_address for name in one.networks)
        here = [one.facts for one in seen if one.at_its_address or (not one.facts.running and own & one.networks)]
        return ClusterFacts(
            ClusterPhase.RUNNING, node_ip=internal, kubernetes_version=kube.version(),
            nodes=tuple(here) if len(here) == len(nodes) else (),
        )  # fmt: skip

    def _container(self, node: Object) -> _Container | None:
        """The container of this machine's Docker that kind, k3d or Minikube made under the node's name.

        Another cluster's container of that name is at another address.
        """
        try:
            found = fitted(_CONTAINER, dict(self._inspect(name_of(node)) or {}))
        except DeployError:  # no Docker here
            return None
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        addresses = {one.get("IPAddress") for one in networks.values()}
        own = {dig(one, "address") for one in rows(node, "status", "addresses")}
        made = (found.get("Config") or {}).get("Labels") or {}
        if not _MAKERS & made.keys():
            return None
        facts = NodeFacts(name_of(node), bool((found.get("State") or {}).get("Running")), runtime=_runtime(node))
        return _Container(facts, frozenset(networks), bool(addresses & own))

    def start(self, request: StartRequest) -> Generator[Event, None, None]:
        """Never done: raises machine error."""
        del request
        yield from ()
        raise machine_error(
            "CLUSTER_DOWN",
            f"the cluster of context `{self._context}` does not answer, and todo-deploy does not start it",
            hints=(f"kubectl --context {self._context} get nodes",),
        )

    def start_node(self, name: str) -> Generator[Event, None, None]:
        """Never done: no node of it is known to be stopped."""
        del name
        yield from ()

    def add_node(self) -> Generator[Event, None, None]:
        """Never done: its nodes are not ours."""
        yield from ()

    def delete(self) -> Generator[Event, None, None]:
        """Never done: refused."""
        yield from ()
        raise refused(
            "CLUSTER_FOREIGN",
            f"the cluster of context `{self._context}` is not deleted: todo-deploy did not make it",
            hints=("todo-deploy down, which leaves the cluster",),
        )

    def wake(self, node: str = "") -> None:
        """Never done: its nodes are not ours."""

    def write_context(self) -> None:
        """Never done: the kubeconfig is the user's."""

    def restore_context(self) -> bool:
        """Never needed: nothing is started here."""
        return False

    def enable_addon(self, name: str) -> Generator[Event, None, None]:
        """Never done: refused."""
        yield from ()
        raise refused(
            "CLUSTER_FOREIGN",
            f"addon {name} is not installed: context `{self._context}` was not made by todo-deploy",
            hints=("install it yourself, or leave it out of cluster.addons",),
        )

    def remove_folder(self, path: str) -> None:
        """Never done: refused."""
        raise refused(
            "CLUSTER_FOREIGN",
            f"the nodes of context `{self._context}` were not made by todo-deploy: not changed",
            hints=("todo-deploy down, which leaves the nodes",),
        )


def _runtime(node: Object) -> str:
    return str(dig(node, "status", "nodeInfo", "containerRuntimeVersion") or "").partition(":")[0]
