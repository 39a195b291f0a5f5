"""The real cluster that tests marked `cluster` run on, and the product's command line as a user starts it.

The cluster is a Minikube profile of its own, made by the product itself and kept between runs. The environment
variable TODO_DEPLOY_TEST_PROFILE names another one.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.errors import DeployError
from deployer.core.steps import drive
from deployer.toolchain import locate_toolchain, minikube_home

PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE", "todo-deploy-test")
PROGRAM = Path(sys.executable).with_name("todo-deploy")

_SPEC = """\
apiVersion: todo-deploy/v1
application: probe
namespace: probe
cluster: {{name: {profile}, memory: 4g}}
env: {{example: null}}
releases:
  probe: {{chart: chart}}
"""
_CHART = "apiVersion: v2\nname: probe\nversion: 0.1.0\n"
_TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: probe}\ndata: {cluster: tests}\n"
# A machine without anything yet builds its programs and the node image first.
_START_SECONDS = 2400.0


@dataclass(frozen=True, slots=True)
class CompletedCli:
    """How a run of `todo-deploy` ended."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run_cli(
    *args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, timeout: float = 600.0
) -> CompletedCli:
    """This repository's `todo-deploy` ran to its end; `env` lies over the environment of the tests."""
    begun = time.monotonic()
    done = subprocess.run(
        [str(PROGRAM), *map(str, args)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return CompletedCli(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def cluster_answers() -> bool:
    """Whether the API server of the profile answers, as far as the kubeconfig knows of it."""
    try:
        return composition.open_kube(composition.this_machine(), Cluster(name=PROFILE)).ready()
    except DeployError:
        return False


def ensure_test_cluster(*, shown: bool = False) -> None:
    """The profile runs the default version of Kubernetes; where not, `todo-deploy up` of a chart with one ConfigMap
    starts it, or makes it anew.

    `shown` lets its progress through: a machine without anything yet is at it for about ten minutes.
    """
    _delete_cluster_of_another_version()
    if cluster_answers():
        return
    with tempfile.TemporaryDirectory() as folder:
        root = _probe(Path(folder))
        if shown:
            subprocess.run([str(PROGRAM), "up", "--progress", "plain"], cwd=root, stdin=subprocess.DEVNULL, check=True)
            return
        done = run_cli("up", "--progress", "plain", cwd=root, timeout=_START_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"the test cluster does not start (exit code {done.returncode}):\n{done.stderr[-4000:]}")


def _delete_cluster_of_another_version() -> None:
    """The profile is not one that another release of the tool made: `up` keeps the version that a cluster has."""
    here = composition.this_machine()
    config = minikube_home(here.env) / "profiles" / PROFILE / "config.json"
    if not config.exists():
        return
    has = json.loads(config.read_text())["KubernetesConfig"]["KubernetesVersion"]
    if has == Cluster().kubernetes_version:
        return
    print(f"the cluster {PROFILE} has Kubernetes {has}: it is deleted and made anew", flush=True)
    subprocess.run([sys.executable, "-m", "deployer.toolchain"], stdin=subprocess.DEVNULL, check=True)
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None
    drive(composition.open_cluster(here, Cluster(name=PROFILE), toolchain).delete(), lambda _: None)


@contextmanager
def alone() -> Iterator[None]:
    """Inside, no contract and no case of `scripts/test.sh` is at the cluster: those that run have come to their end."""
    lock = composition.this_machine().cache_dir / "app-tests" / "cluster.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def ensure_addons(addons: Sequence[str]) -> None:
    """The cluster has these addons; they belong to it and stay when an application that asked for them goes."""
    if not addons:
        return
    with tempfile.TemporaryDirectory() as folder:
        asked = ("--set", f"cluster.addons=[{', '.join(addons)}]")
        done = run_cli("up", *asked, "--progress", "plain", cwd=_probe(Path(folder)), timeout=_START_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"addons cannot be had (exit code {done.returncode}):\n{done.stderr[-4000:]}")


def _probe(root: Path) -> Path:
    """The folder, with a spec and a chart of one ConfigMap in it."""
    (root / "chart" / "templates").mkdir(parents=True)
    (root / "todo-deploy.yaml").write_text(_SPEC.format(profile=PROFILE))
    (root / "chart" / "Chart.yaml").write_text(_CHART)
    (root / "chart" / "templates" / "probe.yaml").write_text(_TEMPLATE)
    return root


if __name__ == "__main__":
    ensure_test_cluster(shown=True)
    print(f"the cluster {PROFILE} runs")
