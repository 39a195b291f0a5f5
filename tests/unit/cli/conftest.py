"""The command line run in this process, in a project and a home of its own; and a cluster of fakes for it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deployer import composition
from deployer.cli.entry import main
from deployer.commands import connection
from deployer.core.ports import ClusterFacts, DockerEndpoint
from deployer.kube.masking import masked
from deployer.state import record
from deployer.state.record import ReleaseRecord
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain
from scripts.reference import output_shapes
from tests.fakes.cluster import FakeCluster
from tests.fakes.kube import FakeKube
from tests.fakes.workloads import object_ref, show

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
cluster:
  name: tiny
switches:
  database: {whenUnset: DATABASE_URL}
images:
  backend: {repository: shop-backend, context: .}
  frontend: {repository: shop-frontend, context: .}
secrets:
  keys:
    keys:
      API_KEY: {kind: required}
      DATABASE_URL: {kind: required, default: "postgresql://shop@database/shop"}
      SESSION_KEY: {kind: generated, length: 40}
      MAIL_KEY: {kind: optional}
  database:
    when: database
    keys:
      PASSWORD: {kind: generated, from: DATABASE_PASSWORD}
releases:
  shop: {chart: chart}
urls:
  web: {service: web, nodePort: 30100}
  health: {service: web, path: /health, show: false}
profiles:
  small: {cluster: {cpus: 2}}
"""
ENV = "API_KEY=k-5551234567\nSESSION_KEY=s3ss10n-of-forty-characters-in-all-000000\n"


@dataclass(frozen=True)
class Ended:
    """How a run of the command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The codes of the document's errors."""
        return [error["code"] for error in self.document["errors"]]


Run = Callable[..., Ended]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with nothing in it, which every path of the tool and of Minikube leads to."""
    made = tmp_path / "home"
    made.mkdir()
    for name in ("KUBECONFIG", "MINIKUBE_HOME", "DOCKER_HOST", "NO_PROXY", "no_proxy", "XDG_STATE_HOME",
                 "XDG_CACHE_HOME", "BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(made))
    return made


@pytest.fixture
def project(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec and an env file, and the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "todo-deploy.yaml").write_text(SPEC)
    (folder / ".env").write_text(ENV)
    (folder / ".env").chmod(0o600)
    monkeypatch.chdir(folder)
    return folder


def hold_to_schema(out: str) -> None:
    """A document of `-o json` has the shape that the reference says."""
    if not out.startswith('{"schemaVersion"'):
        return
    document = json.loads(out)
    shapes = output_shapes()
    if document["data"] is not None:
        shape = {"type": "object", "additionalProperties": False, "$defs": shapes["$defs"]}
        Draft202012Validator({**shape, **shapes[document["command"]]}).validate(document["data"])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the command line with these words."""
    before = signal.getsignal(signal.SIGTERM)

    def once(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        sys.stdout.flush()
        said = capsys.readouterr()
        hold_to_schema(said.out)
        return Ended(int(ended.value.code or 0), said.out, said.err)

    yield once
    signal.signal(signal.SIGTERM, before)


@dataclass
class Staged:
    """What the fakes show."""

    kube: FakeKube
    cluster: FakeCluster
    toolchain: Toolchain
    kubeconfig: Path


@pytest.fixture
def staged(project: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Staged:
    """A running cluster on which `backend` and `frontend` of the project are deployed."""
    bin = tmp_path / "tools"
    bin.mkdir()
    paths = {name: bin / name for name in ("minikube", "helm", "kubectl", "docker")}
    toolchain = Toolchain("path", "for a test", **paths, bin=bin, versions={}, kubernetes_version="v1.37.2",
                          node_image=None, kubernetes_binaries=None, offline_images=False)  # fmt: skip
    daemon = DockerEndpoint("tcp://127.0.0.1:32771", home / ".minikube" / "certs")
    cluster = FakeCluster(ClusterFacts(ClusterPhase.RUNNING, "192.0.2.10", daemon, "docker", "v1.37.2", 2, 4096))
    kube = FakeKube()
    show(kube, "backend")
    show(kube, "frontend")
    kept = record.with_release(
        record.new_record(), "shop",
        ReleaseRecord("default", 1, "digest", (object_ref("backend"), object_ref("frontend"))),
    )  # fmt: skip
    kube.create(record.encode("shop", "default", kept))
    kube.put({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30100}]},
    })  # fmt: skip
    kubeconfig = home / ".kube" / "config"
    kubeconfig.parent.mkdir()
    kubeconfig.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "work",
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in ("work", "tiny")],
        "clusters": [
            {"name": "work", "cluster": {"server": "https://work", "certificate-authority": "ca.crt"}},
            {"name": "tiny", "cluster": {"server": "https://tiny", "certificate-authority": "ca.crt", "extensions": [
                {"name": "cluster_info", "extension": {"provider": "minikube.sigs.k8s.io"}}]}},
        ],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}} for name in ("work", "tiny")],
    }))  # fmt: skip
    monkeypatch.setattr(composition, "open_cluster", lambda *_: cluster)
    monkeypatch.setattr(composition, "open_kube", lambda *_, **__: masked(kube))
    monkeypatch.setattr(connection, "locate_toolchain", lambda *_: toolchain)
    return Staged(kube, cluster, toolchain, kubeconfig)
