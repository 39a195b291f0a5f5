"""An application's folder and a cluster that runs, as every story of the tool sees them: only the ports are fakes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest

from deployer import composition
from deployer.commands import down as down_command
from deployer.commands import rollback as rollback_command
from deployer.commands import up as up_command
from deployer.commands.down import DownOptions, Removed, down
from deployer.commands.rollback import RollbackOptions, RolledBack, rollback
from deployer.commands.up import UpOptions, UpResult, up
from deployer.composition import Machine, begin_run
from deployer.config.load import LoadedSpec, load_spec
from deployer.core.steps import Outcome, Steps
from deployer.kube.masking import masked
from deployer.state.record import Record, load
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.images import FakeImages
from tests.fakes.kube import FakeKube
from tests.fakes.scene import TOOLS, LivingHelm

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
images:
  api: {repository: shop/api, context: api}
secrets:
  app: {naming: stable, keys: {TOKEN: {}}}
releases:
  web:
    chart: chart
    values: {version: "1"}
    images: {api: {image: "{ref}"}}
    secrets: {app: {checksum: "{checksum}"}}
"""


class Shop:
    """The application `shop` with an image, a Secret of a documented name and a release."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        self.kube = FakeKube(FakeClock())
        self.helm = LivingHelm(self.kube)
        self.images = FakeImages()
        self.root = path / "project"
        self.here = Machine({"HOME": str(path)}, path / "cache", path / "state", self.kube.clock)
        for folder in ("api", "chart/templates"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "todo-deploy.yaml").write_text(SPEC)
        (self.root / "chart/Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: 0.1.0\n")
        self.cluster = FakeCluster()
        patch.setattr(composition, "open_cluster", lambda *_: self.cluster)
        patch.setattr(composition, "open_kube", lambda *_, **__: masked(self.kube))
        patch.setattr(composition, "open_helm", lambda *_: self.helm)
        patch.setattr(composition, "open_images", lambda *_: self.images)
        patch.setattr(composition, "open_builder", lambda *_: self.images)
        patch.setattr(up_command, "ensure_tools", _tools)
        patch.setattr(rollback_command, "ensure_tools", _tools)
        patch.setattr(down_command, "ensure_tools", _tools)

    def write(self, version: str) -> LoadedSpec:
        """Code, configuration and Secrets are those of this version."""
        (self.root / "api/Dockerfile").write_text(f"FROM scratch\nLABEL v={version}\n")
        (self.root / ".env").write_text(f"TOKEN=token-of-{version}\n")
        (self.root / ".env").chmod(0o600)
        return load_spec(self.root / "todo-deploy.yaml", None, [f'releases.web.values.version="{version}"'])

    def up(self, version: str, *, env: Mapping[str, str] | None = None, **options: object) -> Steps[UpResult]:
        """`todo-deploy up` of this version."""
        loaded = self.write(version)
        wanted = UpOptions(**options)  # type: ignore[arg-type]
        return up(begin_run(f"run-{version}", loaded, env or {"TOKEN": f"token-of-{version}"}, self.here), wanted)

    def down(self, *, volumes: bool = False) -> Steps[Removed]:
        """`todo-deploy down`."""
        loaded = load_spec(self.root / "todo-deploy.yaml")
        return down(begin_run("run-down", loaded, {}, self.here), DownOptions(volumes, False))

    def back(self, to: int | None = None, *, env: Mapping[str, str] | None = None) -> Steps[RolledBack]:
        """`todo-deploy rollback`."""
        loaded = load_spec(self.root / "todo-deploy.yaml")
        return rollback(begin_run("run-back", loaded, env or {"TOKEN": "any"}, self.here), RollbackOptions(to))

    @property
    def record(self) -> Record:
        """What the cluster remembers."""
        return load(self.kube, "default", "shop")

    @property
    def verdicts(self) -> list[str]:
        """Those of the revisions, oldest first."""
        return [one.verdict for one in self.record.history]

    @property
    def token(self) -> str:
        """The value that pods would see."""
        found = self.kube.get("Secret", "default", "app")
        assert found is not None
        return base64.b64decode(found["data"]["TOKEN"]).decode()

    @property
    def serves(self) -> tuple[str, str]:
        """The version and the Secret's value that pods would see."""
        return self.helm.served("web"), self.token


def _tools(*_: object) -> Steps[Outcome[object]]:
    yield from ()
    return Outcome(TOOLS, False, "path")
