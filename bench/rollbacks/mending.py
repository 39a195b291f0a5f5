"""What `up` finds in the way and puts right, or refuses with a choice: tried with an application that starts no pod."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.rollbacks.restored import Shown
from deployer.composition import this_machine
from deployer.core.errors import ExitCode
from deployer.toolchain import locate_toolchain, minikube_home
from tests.cluster import PROFILE, ensure_test_cluster
from tests.e2e.project import Project, own_kubeconfig

NAME = "mended"
_SPEC = f"""\
apiVersion: todo-deploy/v1
application: {NAME}
namespace: {NAME}
env: {{example: null}}
secrets:
  {NAME}-secrets: {{naming: stable, keys: {{TOKEN: {{kind: generated}}}}}}
releases:
  {NAME}:
    chart: chart
    secrets: {{{NAME}-secrets: {{checksum: "{{checksum}}"}}}}
rules:
  waive: [{{rule: REPLICAS, reason: nothing needs to run here}}]
"""
_CHART = f"apiVersion: v2\nname: {NAME}\nversion: 0.1.0\nappVersion: 0.1.0\n"
_TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: mended, labels: {checksum: {{ .Values.checksum | default "none" | quote }}}}
data: {storage: {{ .Values.storage | quote }}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  replicas: 0
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec:
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
        - name: store
          image: store:1.0.0
          livenessProbe: {tcpSocket: {port: 80}}
          readinessProbe: {tcpSocket: {port: 80}}
          resources: {requests: {cpu: 1m, memory: 4Mi}, limits: {cpu: 10m, memory: 8Mi}}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: {{ .Values.storage }}}}}
"""


@dataclass(frozen=True)
class Small:
    """The application and its cluster."""

    project: Project

    def up(self, *words: str, **env: str) -> tuple[int, list[dict[str, Any]]]:
        """How an `up` ended, and the errors it reported."""
        done = self.project.run("up", "--hold", "0s", "--progress", "plain", "-o", "json", *words, env=env)
        return done.returncode, json.loads(done.stdout)["errors"]

    def down(self) -> None:
        """Nothing of it is left."""
        done = self.project.run("down", "--volumes", "--yes")
        assert done.returncode == 0, done.stderr[-2000:]
        self.kubectl("delete", "namespace", NAME, "--ignore-not-found", "--wait=true")

    def kubectl(self, *words: str) -> str:
        """What kubectl prints."""
        return self.project.kubectl(*words)

    def storage(self, size: str) -> None:
        """The chart asks for volumes of that size."""
        (self.project.root / "chart/values.yaml").write_text(f'storage: {size}\nchecksum: ""\n')


@contextmanager
def small() -> Iterator[Small]:
    """The application's folder beside a running cluster with nothing of it."""
    ensure_test_cluster(shown=True)
    with tempfile.TemporaryDirectory(prefix="todo-mending-") as name:
        here = this_machine()
        toolchain = locate_toolchain("auto", here.cache_dir)
        assert toolchain is not None
        project = Project(Path(name) / "clone", Path(name), toolchain)
        (project.root / "chart/templates").mkdir(parents=True)
        (project.root / "todo-deploy.yaml").write_text(_SPEC)
        (project.root / "chart/Chart.yaml").write_text(_CHART)
        (project.root / "chart/templates/all.yaml").write_text(_TEMPLATE)
        project.kubeconfig.write_text(json.dumps(own_kubeconfig(here.kubeconfig)))
        project = replace(project, more_environment={"PYTHONPATH": str(Path(__file__).parents[2])})
        made = Small(project)
        made.storage("1Gi")
        made.down()
        try:
            yield made
        finally:
            made.down()


def _refused(app: Small, code: str, words: str, *more: str, **env: str) -> list[str]:
    """An `up` is refused with this code and these words."""
    exit_code, errors = app.up(*more, **env)
    shown = [f"{one['code']}: {one['title']}" for one in errors]
    good = exit_code == ExitCode.REFUSED and errors and errors[0]["code"] == code and words in errors[0]["title"]
    return [] if good and errors[0]["hints"] else [f"exit {exit_code}, reported {shown}"]


def _goes_well(app: Small, *words: str, **env: str) -> list[str]:
    exit_code, errors = app.up(*words, **env)
    return [] if exit_code == 0 else [f"the next up: exit {exit_code}, {[one['title'] for one in errors]}"]


def bare_namespace(app: Small) -> list[str]:
    """A namespace that exists without our label, as of a run killed in its first seconds or of a person."""
    app.kubectl("create", "namespace", NAME)
    return _goes_well(app)


def secret_without_release(app: Small) -> list[str]:
    """Record and Secrets are there, the release is gone."""
    _goes_well(app)
    app.project.helm("uninstall", NAME, "--namespace", NAME)
    found = _goes_well(app)
    revisions = [one["releases"] for one in app.project.json("history")["data"]["revisions"]]
    return found + ([] if revisions == [{NAME: 1}] else [f"history has {revisions}"])


def release_of_somebody_else(app: Small) -> list[str]:
    """A release of the same name that we did not make."""
    root = app.project.root
    app.project.helm("install", NAME, str(root / "chart"), "--namespace", NAME, "--create-namespace")
    found = _refused(app, "RELEASE_FOREIGN", "was not made by todo-deploy")
    return found + _goes_well(app, "--adopt") + _goes_well(app)


def secret_of_somebody_else(app: Small) -> list[str]:
    """A Secret of the documented name without our label."""
    app.kubectl("create", "namespace", NAME)
    app.kubectl("create", "secret", "generic", f"{NAME}-secrets", "--from-literal=TOKEN=theirs", "--namespace", NAME)
    return _refused(app, "SECRET_FOREIGN", "is not ours") + _goes_well(app, "--adopt") + _goes_well(app)


def namespace_going_away(app: Small) -> list[str]:
    """The namespace is being deleted, and something holds it."""
    app.kubectl("create", "namespace", NAME)
    held = {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "held", "namespace": NAME, "finalizers": ["todo-deploy.dev/test"]}}  # fmt: skip
    path = app.project.home / "held.json"
    path.write_text(json.dumps(held))
    app.kubectl("apply", "-f", str(path))
    app.kubectl("delete", "namespace", NAME, "--wait=false")
    try:
        found = _refused(app, "NAMESPACE_TERMINATING", "is being deleted")
    finally:
        app.kubectl("patch", "configmap", "held", "--namespace", NAME, "--type=merge",
                    "-p", '{"metadata": {"finalizers": null}}')  # fmt: skip
        app.kubectl("wait", "--for=delete", f"namespace/{NAME}", "--timeout=60s")
    return found + _goes_well(app)


def immutable_field(app: Small) -> list[str]:
    """The chart asks for another size of a StatefulSet's volumes; the command that is offered makes it possible."""
    _goes_well(app)
    app.storage("2Gi")
    exit_code, errors = app.up()
    path = "spec.volumeClaimTemplates[0].spec.resources.requests.storage"
    found = [] if exit_code == ExitCode.REFUSED and path in errors[0]["title"] else [f"exit {exit_code}: {errors}"]
    offered = errors[0]["hints"][0].partition(",")[0]
    app.kubectl(*shlex.split(offered)[1:])
    return found + _goes_well(app)


def half_done_down(app: Small) -> list[str]:
    """A `down` was killed between the release and what belongs to it; another one, and an `up`, go on from there."""
    _goes_well(app)
    app.project.helm("uninstall", NAME, "--namespace", NAME)
    app.kubectl("delete", "secret", f"{NAME}-secrets", "--namespace", NAME)
    done = app.project.run("down", "--yes")
    left = app.kubectl("get", "statefulset,configmap", "--namespace", NAME, "-l", "app=store", "-o", "name").split()
    found = [] if done.returncode == 0 and not left else [f"down ended with {done.returncode}, left {left}"]
    return found + _goes_well(app)


def context_of_somebody_else(app: Small) -> list[str]:
    """A context of the cluster's name leads to a cluster that is none of Minikube's."""
    path = app.project.home / "foreign"
    document = {"apiVersion": "v1", "kind": "Config", "current-context": PROFILE,
                "contexts": [{"name": PROFILE, "context": {"cluster": "theirs", "user": "me"}}],
                "clusters": [{"name": "theirs", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "me", "user": {}}]}  # fmt: skip
    path.write_text(json.dumps(document))
    return _refused(app, "CONTEXT_FOREIGN", "is not a Minikube cluster", KUBECONFIG=str(path))


def profile_of_somebody_else(app: Small) -> list[str]:
    """The profile's node is there, and this user's Minikube does not know it."""
    home, kubeconfig = app.project.home / "theirs", app.project.home / "empty"
    home.mkdir()
    env = {"MINIKUBE_HOME": str(home), "KUBECONFIG": str(kubeconfig)}
    return _refused(app, "PROFILE_FOREIGN", "another user's", **env)


def expired_certificate(app: Small) -> list[str]:
    """The client certificate of the kubeconfig has run out: Minikube's start makes a new one."""
    home = minikube_home(this_machine().env)
    profile = home / "profiles" / PROFILE
    certificate = profile / "client.crt"
    before = certificate.read_bytes()
    folder = app.project.home / "expired"
    folder.mkdir()
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=me\n[me]\ndatabase={folder}/index\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\norganizationName=optional\n"
    )
    request, made = folder / "request", folder / "made"
    subject = "/O=system:masters/CN=minikube-user"
    for words in (
        ["req", "-new", "-key", f"{profile}/client.key", "-subj", subject, "-out", str(request)],
        ["ca", "-batch", "-notext", "-config", f"{folder}/ca.cnf", "-cert", f"{home}/ca.crt",
         "-keyfile", f"{home}/ca.key", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z",
         "-in", str(request), "-out", str(made)],
    ):  # fmt: skip
        subprocess.run(["openssl", *words], check=True, capture_output=True)
    certificate.write_bytes(made.read_bytes())
    try:
        found = _goes_well(app)
        found += [] if certificate.read_bytes() not in (before, made.read_bytes()) else ["no new certificate was made"]
    finally:
        if certificate.read_bytes() == made.read_bytes():
            certificate.write_bytes(before)
    return found


CASES: tuple[tuple[str, str, Callable[[Small], list[str]]], ...] = (
    ("a namespace without our label", "used as it is", bare_namespace),
    ("Secrets and record without their release", "installed anew; earlier revisions forgotten", secret_without_release),
    ("a `down` that was cut short", "`down` and `up` go on from there", half_done_down),
    ("a release of somebody else's", "refused (RELEASE_FOREIGN); `--adopt` takes it over", release_of_somebody_else),
    ("a Secret of somebody else's", "refused (SECRET_FOREIGN); `--adopt` takes it over", secret_of_somebody_else),
    ("a namespace that is being deleted", "refused (NAMESPACE_TERMINATING) until it is gone", namespace_going_away),
    ("a field that cannot change", "refused with its path; the offered command makes it possible", immutable_field),
    ("a context that is none of Minikube's", "refused (CONTEXT_FOREIGN)", context_of_somebody_else),
    ("another user's Minikube profile", "refused (PROFILE_FOREIGN)", profile_of_somebody_else),
    ("an expired client certificate", "the cluster is started, with a new one", expired_certificate),
)  # fmt: skip


def shown(name: str, outcome: str, case: Callable[[Small], list[str]], app: Small) -> Shown:
    """The case was tried on a cluster with nothing of the application."""
    app.storage("1Gi")
    begun = time.monotonic()
    found = case(app)
    seconds = time.monotonic() - begun
    app.down()
    return Shown(name, outcome, seconds, tuple(found))
