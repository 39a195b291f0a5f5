"""A home and a project of their own, a cluster in memory, and the command line run in this process."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from deployer import composition
from deployer.cli.entry import main
from deployer.commands import connection, down, rollback, up
from deployer.core.errors import DeployError
from deployer.core.objects import identified, well_formed
from deployer.core.ports import (
    APPLICATION_LABEL,
    INPUTS_LABEL,
    WITHOUT_CLUSTER,
    Object,
    Rendering,
    Revision,
    UpgradeRequest,
)
from deployer.core.redact import KNOWN
from deployer.core.steps import Outcome, Steps
from deployer.forwarding import ports
from deployer.kube.masking import masked
from deployer.sources import git
from deployer.state import record
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import ReleaseRecord
from tests.fakes import FakeHelm, FakeKube
from tests.fakes import kube as fake_kube
from tests.fakes.cluster import FakeCluster
from tests.fakes.helm import release_secret
from tests.fakes.images import FakeImages
from tests.fakes.scene import TOOLS
from tests.fakes.workloads import object_ref, show
from tests.unit.preflight.rules.subjects import good_objects

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
cluster: {name: tiny, addons: [ingress]}
switches:
  database: {whenUnset: DATABASE_URL}
images:
  api: {repository: shop-api, context: api, args: {LEVEL: info}}
secrets:
  app-secrets:
    naming: stable
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
  shop:
    chart: chart
    valuesFiles: [values.small.yaml]
    values: {replicas: 2, limits: {cpu: 500m, memory: 1Gi}}
    images: {api: {image.tag: "{tag}"}}
    secrets: {app-secrets: {sums: "{checksums}"}}
urls:
  web: {service: api, nodePort: 30080, path: /health, expect: 200}
cors:
  api: {service: api, urls: [web], path: /}
rollout: {hold: 5s, timeout: 2m}
rules: {maxImageSize: 500Mi, waive: [{rule: TAG_LATEST, objects: ["deployment/*"], reason: "tried here"}]}
profiles:
  small: {cluster: {cpus: 2}, releases: {shop: {values: {replicas: 1}}}}
"""
ENV = "API_KEY=k-5551234567\nSESSION_KEY=s3ss10n-of-forty-characters-in-all-000000\nexport MAIL_KEY='x y'  # none\n"
EXAMPLE = "API_KEY=\nSESSION_KEY=\nMAIL_KEY=\n# DATABASE_URL=\n"
DOCKERFILE = """\
# syntax=docker/dockerfile:1
ARG VERSION=3.11
FROM python:${VERSION}-slim AS build
ARG LEVEL=info
ENV A=1 B="two words"
COPY --chown=1001:1001 requirements.txt main.py ./
RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt \\
    && true
COPY <<EOF /etc/motd
hello
EOF
FROM build
COPY --from=build ["/app", "/app"]
USER 1001
EXPOSE 8000/tcp 9000
HEALTHCHECK CMD curl -f http://localhost:8000/
CMD ["python", "main.py"]
"""
CHART = """\
apiVersion: v2
name: shop
version: 0.1.0
appVersion: "1.10"
description: A shop
type: application
maintainers: [{name: us, email: us@example.com}]
dependencies:
  - name: part
    version: ">=0.1.0"
    repository: file://../part
    alias: piece
    condition: piece.enabled
"""
VALUES = """\
replicas: 2
image: {repository: shop-api, tag: "", pullPolicy: IfNotPresent}
service: {type: NodePort, port: 80, nodePort: 30080}
defaults: &defaults
  requests: {cpu: 100m, memory: 64Mi}
piece:
  <<: *defaults
  enabled: yes
  since: 2026-01-02
  sign: =
env:
  - {name: LEVEL, value: info}
"""


@dataclass
class Home:
    """Where the command line runs; what it shows next is put into these fields before."""

    root: Path
    kube: FakeKube = field(default_factory=FakeKube)
    rendered: list[Object] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """The folder with the spec."""
        return self.root / "project"

    @property
    def kubeconfig(self) -> Path:
        """The user's kubeconfig."""
        return self.root / ".kube" / "config"

    @property
    def runs(self) -> Path:
        """Where the records of runs are."""
        return self.root / "state" / "todo-deploy" / "runs"

    def reset(self) -> None:
        """Files, cluster and charts are whole again."""
        KNOWN.forget()
        self.kube, self.rendered = deployed(), list(good_objects().values())
        self.project.mkdir(exist_ok=True)  # it stays: it is the folder that the process is in
        for old in (*self.project.iterdir(), self.root / "state", self.root / "cache", self.root / ".minikube"):
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
        for name, content in {
            "todo-deploy.yaml": SPEC, ".env": ENV, ".env.example": EXAMPLE, "values.small.yaml": "replicas: 1\n",
            "api/Dockerfile": DOCKERFILE, "api/.dockerignore": "*\n!main.py\n!requirements.txt\n", "api/main.py": "\n",
            "api/requirements.txt": "\n", "chart/Chart.yaml": CHART, "chart/values.yaml": VALUES,
            "chart/.helmignore": "*.md\n", "chart/templates/all.yaml": "{{ .Values.image.tag }}\n",
            "part/Chart.yaml": "apiVersion: v2\nname: part\nversion: 0.1.0\n", "part/values.yaml": "a: 1\n",
        }.items():  # fmt: skip
            self.write(name, content)
        self.kubeconfig.parent.mkdir(exist_ok=True)
        self.kubeconfig.write_text(json.dumps(KUBECONFIG))

    def write(self, name: str, content: str | bytes) -> None:
        """The project's file holds this."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    def run(self, *words: str) -> tuple[int, str]:
        """The exit code of the command line, and what it said."""
        said = StringIO()
        with redirect_stdout(said), redirect_stderr(said):
            try:
                main(list(words))
            except SystemExit as ended:
                return int(ended.code or 0), said.getvalue()

    def trace(self) -> str:
        """The newest trace of a bug; empty where there is none."""
        traces = sorted((self.root / "state" / "todo-deploy" / "traces").glob("*.txt"))
        return traces[-1].read_text(encoding="utf-8") if traces else ""


KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Config", "current-context": "work", "preferences": {},
    "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
                 for name in ("work", "tiny")],
    "clusters": [
        {"name": "work", "cluster": {"server": "https://127.0.0.1:1", "insecure-skip-tls-verify": True}},
        {"name": "tiny", "cluster": {
            "server": "https://127.0.0.1:1", "certificate-authority": "ca.crt",
            "extensions": [{"name": "cluster_info", "extension": {"provider": "minikube.sigs.k8s.io"}}]}},
    ],
    "users": [{"name": "work", "user": {"token": "token-of-work"}},
              {"name": "tiny", "user": {"client-certificate": "a.crt", "client-key": "a.key"}}],
}  # fmt: skip


def stored(number: int, status: str) -> Object:
    """The Secret with a revision that todo-deploy made."""
    labels = {INPUTS_LABEL: "digest", APPLICATION_LABEL: "shop"}
    return release_secret("shop", "default", number, status, labels=labels, objects=list(good_objects().values()))


def deployed() -> FakeKube:
    """A cluster on which the application is deployed twice, and another one too."""
    kube = FakeKube()
    for name in ("api", "other"):
        show(kube, name)
    for body in (*good_objects().values(), NODE, EVENT):
        kube.put({**body, "metadata": {"namespace": "default", **body["metadata"]}})
    for number in (1, 2):
        kube.put(stored(number, "deployed"))
    kube.put(record.encode("shop", "default", RECORD))
    kube.put(record.encode("another", "default", ANOTHER))
    return kube


NODE: Object = {
    "apiVersion": "v1", "kind": "Node", "metadata": {"name": "tiny"},
    "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "nodeInfo": {"architecture": "amd64"},
               "conditions": [{"type": "Ready", "status": "True"}], "images": [{"names": ["x:1"], "sizeBytes": 3}]},
}  # fmt: skip
EVENT: Object = {
    "apiVersion": "v1", "kind": "Event", "metadata": {"name": "api.1"}, "type": "Warning", "reason": "Failed",
    "involvedObject": {"kind": "Pod", "name": "api-pod", "namespace": "default"}, "message": "Error: ErrImageNeverPull",
    "count": 2, "lastTimestamp": "2026-01-02T03:04:05Z", "source": {"component": "kubelet"},
}  # fmt: skip
RECORD = record.Record(
    "0123456789abcdef0123456789abcdef", {"shop-api": {"1.0.0-0123456789ab": "0123456789ab"}},
    {"shop": ReleaseRecord("default", 2, "digest", (object_ref("api"), object_ref("other")))}, (object_ref("api"),),
    tuple(
        Entry(number, f"run-{number}", 1767323045.0, "me@here", "up", "0123456789", False, {"api": "shop-api:1"},
              (KeptSecretRef("default", "app-secrets", "app-secrets-1"),), {"shop": number}, {"shop": "digest"},
              {"api": {"0001.py": "ab"}}, (), verdict="verified", seconds=3.5)
        for number in (1, 2)
    ),
)  # fmt: skip
ANOTHER = replace(RECORD, releases={"another": ReleaseRecord("default", 1, "digest", (object_ref("another"),))})


class _Rendering(FakeHelm):
    """Helm whose charts render to what the home says."""

    def __init__(self, home: Home) -> None:
        super().__init__(home.kube)
        self._home = home

    def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> list[Object]:
        return [identified(one) for one in json.loads(json.dumps(self._home.rendered))]

    def _manifest(self, revision: Revision) -> list[Object]:
        with suppress(DeployError, ValueError, AssertionError, KeyError, AttributeError, TypeError):
            return [identified(one) for one in super()._manifest(revision) if isinstance(one, dict)]
        return []  # what helm makes of it is not tried here


class _Served(FakeKube):
    """The API server as its client hands it on: every object well formed."""

    def __init__(self, kube: FakeKube) -> None:
        super().__init__(kube.clock)
        self._objects = kube._objects

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        found = super().get(kind, namespace, name)
        return well_formed(found, kind) if found is not None else None

    def list(self, kind: str, namespace: str = "", **asked: Any) -> list[Object]:
        for (known, _, _), one in self._objects.items():
            if known == kind:
                one["metadata"]["labels"] = _texts(one["metadata"].get("labels"))  # the server selects by them
        return [well_formed(one, kind) for one in super().list(kind, namespace, **asked)]


def _texts(value: Any) -> dict[str, str]:
    return {key: one for key, one in value.items() if isinstance(one, str)} if isinstance(value, dict) else {}


@contextmanager
def home() -> Iterator[Home]:
    """A home that every path of the tool leads to while inside; only the clients are fakes."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError("git")

    def tools(*_: object) -> Steps[Outcome[object]]:
        yield from ()
        return Outcome(TOOLS, False, "path")

    def cluster(*_: object) -> FakeCluster:
        return FakeCluster()

    before = Path.cwd()
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, ExitStack() as stack:
        made = Home(Path(folder))
        # Nothing is started: PATH leads to no program.
        places = {
            "HOME": folder,
            "PATH": f"{folder}/bin",
            "XDG_STATE_HOME": f"{folder}/state",
            "XDG_CACHE_HOME": f"{folder}/cache",
        }
        stack.enter_context(patch.dict(os.environ, places, clear=True))
        for module, name, replacement in (
            (composition, "open_cluster", cluster),
            (composition, "open_kube", lambda *_, **__: masked(_Served(made.kube))),
            (composition, "open_helm", lambda *_: _Rendering(made)),
            (composition, "open_images", lambda *_: FakeImages(["shop-api:1"])),
            (git, "run", missing),
            (fake_kube, "copy", SimpleNamespace(deepcopy=lambda value: pickle.loads(pickle.dumps(value)))),  # faster
            (ports, "reachable", lambda *_: True),
            (composition, "SystemClock", lambda: made.kube.clock),
            (connection, "locate_toolchain", lambda *_: TOOLS),
            *((module, "ensure_tools", tools) for module in (up, down, rollback)),
        ):
            stack.enter_context(patch.object(module, name, replacement))
        made.reset()
        os.chdir(made.project)
        try:
            yield made
        finally:
            os.chdir(before)
            sys.stdout.flush()
