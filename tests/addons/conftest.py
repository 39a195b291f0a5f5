"""A small application behind all three addons, deployed once to the cluster of the tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.ports import KubePort
from tests.charts.staging import CHARTS
from tests.cluster import PROFILE, CompletedCli, ensure_test_cluster, run_cli

Object = dict[str, Any]
HOST = "lights.example"

SPEC = f"""\
apiVersion: todo-deploy/v1
application: lights
namespace: lights
cluster: {{name: {PROFILE}, memory: 4g, addons: [metallb, metrics-server, ingress]}}
env: {{example: null}}
images:
  lights:
    repository: lights
    context: app
    bases: {{PYTHON_IMAGE: "python:3.11-slim"}}
releases:
  lights:
    chart: charts/workload
    values:
      name: lights
      port: 8080
      service: {{type: LoadBalancer, port: 80}}
      ingress:
        enabled: true
        hosts: [{{host: {HOST}, paths: [{{path: /}}]}}]
      autoscaling: {{enabled: true, minReplicas: 1, maxReplicas: 2}}
      probes:
        readiness: &page {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
        liveness: *page
      resources: {{requests: {{cpu: 25m, memory: 32Mi}}, limits: {{cpu: 250m, memory: 64Mi}}}}
    images:
      lights: {{image.repository: "{{repository}}", image.tag: "{{tag}}"}}
urls:
  balanced: {{service: lights-service, external: true}}
  routed: {{ingressHost: {HOST}}}
"""
DOCKERFILE = """\
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
WORKDIR /site
COPY index.html .
USER 1000
CMD ["python", "-m", "http.server", "8080"]
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder runs on the cluster, with addons."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.addons)


@dataclass(frozen=True)
class Lights:
    """The application's folder, the client of its cluster, and how its first `up` went."""

    root: Path
    first: CompletedCli
    kube: KubePort
    node: str

    def run(self, *args: str) -> CompletedCli:
        """`todo-deploy` ran to its end."""
        return cli(self.root, args)

    def json(self, *args: str) -> Object:
        """The data of a command that ended well."""
        done = self.run(*args, "-o", "json")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
        data: Object = json.loads(done.stdout)["data"]
        return data


def cli(root: Path, args: Sequence[str]) -> CompletedCli:
    """`todo-deploy` with a state folder of its own."""
    return run_cli(*args, cwd=root, env={"XDG_STATE_HOME": str(root / "state"), "NO_COLOR": "1"}, timeout=1800)


@pytest.fixture(scope="session")
def lights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lights]:
    """The application is deployed; it is gone afterwards, and the addons stay, because they are the cluster's."""
    ensure_test_cluster()
    root = tmp_path_factory.mktemp("lights")
    (root / "app").mkdir()
    (root / "app" / "Dockerfile").write_text(DOCKERFILE)
    (root / "app" / "index.html").write_text("lights are on\n")
    (root / "todo-deploy.yaml").write_text(SPEC)
    for name in ("workload", "component"):
        shutil.copytree(CHARTS / name, root / "charts" / name)
    first = cli(root, ("up", "-o", "json", "--progress", "plain", "--hold", "1s"))
    kube = composition.open_kube(composition.this_machine(), Cluster(name=PROFILE))
    nodes = kube.list("Node")
    node = next(one["address"] for one in nodes[0]["status"]["addresses"] if one["type"] == "InternalIP")
    try:
        yield Lights(root, first, kube, node)
    finally:
        down = cli(root, ("down", "--volumes", "--yes"))
        assert down.returncode == 0, down.stderr
