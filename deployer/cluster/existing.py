"""An existing cluster that the tool only uses: its context is named in the spec, and it is never started or stopped."""

from __future__ import annotations

from collections.abc import Callable, Generator

from deployer.core.errors import machine_error, refused
from deployer.core.events import Event
from deployer.core.ports import ClusterFacts, KubePort, StartRequest
from deployer.kube.rights import listed
from deployer.status import ClusterPhase
from deployer.status.objects import dig, is_ready, rows


class ContextCluster:
    """The cluster behind a kubeconfig context."""

    def __init__(self, context: str, connect: Callable[[], KubePort]) -> None:
        self._context = context
        self._connect = connect

    def facts(self) -> ClusterFacts:
        """Whether its API server answers, and the address of a node that is Ready, where nodes may be listed."""
        kube = self._connect()
        if not kube.ready():
            return ClusterFacts(ClusterPhase.STOPPED)
        nodes = listed(kube, "Node") or []
        known = next((one for one in nodes if is_ready(one)), {})
        internal = next((str(dig(one, "address")) for one in rows(known, "status", "addresses")
                         if one.get("type") == "InternalIP"), None)  # fmt: skip
        runtime = str(dig(known, "status", "nodeInfo", "containerRuntimeVersion") or "").partition(":")[0]
        return ClusterFacts(ClusterPhase.RUNNING, node_ip=internal, kubernetes_version=kube.version(), runtime=runtime)

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
