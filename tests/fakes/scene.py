"""Helm with controllers behind it: what it applies comes up, or does not, as a test has said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deployer.composition import Connected, Machine
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec
from deployer.core.ports import ClusterFacts, Object, Revision, Upgraded, UpgradeRequest
from deployer.images.delivery import Way
from deployer.state.lock import ClusterLock
from deployer.toolchain import Toolchain
from tests.fakes.cluster import RUNNING
from tests.fakes.helm import FakeHelm, config_map
from tests.fakes.kube import FakeKube
from tests.fakes.workloads import show

WAY = Way("daemon", "for tests")
BACK_OFF = ("CrashLoopBackOff", "back-off 10s restarting failed container")
TOOLS = Toolchain(
    "path", "for tests", Path("minikube"), Path("helm"), Path("kubectl"), Path("docker"), Path("bin"), {}, "v1.37.2",
    None, None, False,
)  # fmt: skip


SPEC = Spec.model_validate(
    {"apiVersion": "todo-deploy/v1", "application": "shop", "releases": {"web": {"chart": "chart"}}}
)


def workload(request: UpgradeRequest) -> list[Object]:
    """A Deployment and a ConfigMap with the values' texts, both named like the release."""
    name, amounts, probe = request.release, {"cpu": "10m", "memory": "16Mi"}, {"tcpSocket": {"port": 8080}}
    container = {"name": name, "image": request.values.get("image", f"{name}:1"),
                 "resources": {"requests": amounts, "limits": amounts},
                 "livenessProbe": probe, "readinessProbe": probe}  # fmt: skip
    pod = {"containers": [container], "securityContext": {"runAsNonRoot": True, "runAsUser": 1000}}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec},
            *config_map(request)]  # fmt: skip


class LivingHelm(FakeHelm):
    """A release's pods are ready at once, unless its value `version` is `broken` (they crash) or `slow`."""

    def __init__(self, kube: FakeKube) -> None:
        super().__init__(kube, workload)
        self.broken: set[str] = set()
        self.slow: set[str] = set()

    def _deploy(self, secret: Object, objects: Sequence[Object], history: Sequence[Revision]) -> Upgraded:
        done = super()._deploy(secret, objects, history)
        self._run(done.revision.release)
        return done

    def served(self, release: str) -> str:
        """The version that is applied."""
        found = self.kube.get("ConfigMap", "default", release)
        return str(found["data"]["version"]) if found is not None else ""

    def _run(self, release: str) -> None:
        if self.served(release) in self.broken:
            show(self.kube, release, ready=False, restarts=3, waiting=BACK_OFF, crashed=1)
        else:
            show(self.kube, release, ready=self.served(release) not in self.slow)


def connected(kube: FakeKube, helm: FakeHelm, facts: ClusterFacts = RUNNING, run: str = "run-1") -> Connected:
    """A run of the application `shop`, with the clients of a cluster that runs."""
    loaded = LoadedSpec(SPEC, Path("todo-deploy.yaml"), None, {}, {}, Path())
    world = Machine({}, Path("cache"), Path("state"), kube.clock)
    return Connected(run, loaded, {}, world, ClusterLock("shop", run, kube.clock), TOOLS, facts, kube, helm, WAY)
