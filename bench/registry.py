"""`python -m bench.registry`: a registry and a cluster that is only a kubeconfig context to the tool, as tables.

The cluster is a Minikube profile with containerd, made here, into which no Docker daemon builds; the registry is the
`distribution` project's, from its Go module, on this machine: over http, with TLS, and with TLS and a password.
Exit code 1 when a step does not end as it must.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import recorded
from deployer.composition import this_machine
from deployer.toolchain import Toolchain, locate_toolchain

ROOT = Path(__file__).parent.parent
MODULE = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
USER, PASSWORD = "anna", "not-the-name-of-a-cat"
PORT = 5021
BROKEN = "raise SystemExit('broken')\n"
_CONTAINERD = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  enable_unprivileged_ports = true
  sandbox_image = "PAUSE"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "/etc/containerd/certs.d"
"""
_HELPER = """\
#!/bin/sh
# The protocol of https://github.com/docker/docker-credential-helpers
[ "$1" = get ] && printf '{"ServerURL": "%s", "Username": "NAME", "Secret": "WORD"}' "$(cat)"
"""
_HOSTING = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: local-registry-hosting, namespace: kube-public}
data:
  localRegistryHosting.v1: |
    host: "localhost:PORT"
    hostFromContainerRuntime: "HOST"
"""
_RIGHTS = """\
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: team, namespace: NAME}
spec: {hard: {requests.cpu: "1", requests.memory: 1Gi, limits.cpu: "4", limits.memory: 2Gi, pods: "10"}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: anna, namespace: NAME}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: anna, namespace: NAME}
rules: [{apiGroups: ["", apps, batch, autoscaling, coordination.k8s.io, discovery.k8s.io, networking.k8s.io, policy],
         resources: ["*"], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: anna, namespace: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: anna}
subjects: [{kind: ServiceAccount, name: anna, namespace: NAME}]
"""


@dataclass(frozen=True)
class Team:
    """The team's cluster: what its administrator can do, and the kubeconfig that a user gets."""

    profile: str
    tools: Toolchain
    folder: Path
    address: str
    """This machine's, as the node reaches it."""
    kubeconfig: Path

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """What kubectl says as the administrator."""
        return said([self.tools.kubectl, "--kubeconfig", self.kubeconfig, "--context", "team-dev", *words], text)

    def trusts(self, host: str, scheme: str, ca: Path | None) -> None:
        """The node's containerd pulls from the registry."""
        place = f"/etc/containerd/certs.d/{host}"
        hosts = f'server = "{scheme}://{host}"\n[host."{scheme}://{host}"]\n  capabilities = ["pull", "resolve"]\n'
        in_node(self.profile, f"mkdir -p {place}")
        if ca is not None:
            in_node(self.profile, f"cat > {place}/ca.crt", ca.read_text())
            hosts += f'  ca = "{place}/ca.crt"\n'
        in_node(self.profile, f"cat > {place}/hosts.toml", hosts)


@dataclass
class Table:
    """Rows as they come; `complaints` counts those that did not end as they must."""

    complaints: int = 0
    begun: float = field(default_factory=time.monotonic)

    def row(self, *cells: object, good: bool = True) -> None:
        """One line."""
        self.complaints += not good
        print("| " + " | ".join(str(one) for one in (*cells, "" if good else "NOT AS IT MUST BE")) + " |", flush=True)


def said(words: Sequence[Any], text: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """The program's output; its error where it fails."""
    done = subprocess.run([str(one) for one in words], input=text, capture_output=True, text=True, env=env, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def in_node(profile: str, command: str, text: str | None = None) -> str:
    """What the command says in the team's node."""
    return said(["docker", "exec", "-i", profile, "sh", "-c", command], text or "")


def program() -> Path:
    """The registry, built once."""
    folder = this_machine().cache_dir / "bench" / "registry"
    if not (folder / "registry").exists():
        folder.mkdir(parents=True, exist_ok=True)
        said(["nice", "go", "install", MODULE], env={**os.environ, "GOBIN": str(folder)})
    return folder / "registry"


@contextmanager
def team(folder: Path, profile: str, *, keep: bool) -> Iterator[Team]:
    """The cluster, and a kubeconfig in which nothing says what made it."""
    tools = locate_toolchain("auto", this_machine().cache_dir)
    if tools is None or tools.node_image is None:
        raise SystemExit("todo-deploy doctor --fix, for a toolchain with a node image")
    own = folder / "minikube-kubeconfig"
    env = {**os.environ, "KUBECONFIG": str(own)}
    minikube = [str(tools.minikube), "--profile", profile]
    stack = ExitStack()
    with stack:
        if not keep:
            stack.callback(subprocess.run, [*minikube, "delete"], env=env, capture_output=True, timeout=300)
        with suppress(RuntimeError):  # without a context in the kubeconfig it counts as stopped
            said([*minikube, "update-context"], env=env)
        if _status(minikube, env) != "Running":
            _start(profile, minikube, tools, env)
        config = json.loads(
            said(
                [tools.kubectl, "--context", profile, "config", "view", "--flatten", "--minify", "-o", "json"], env=env
            )
        )
        (cluster,), (user,) = config["clusters"], config["users"]
        del cluster["cluster"]["extensions"]
        config["contexts"] = [{"name": "team-dev", "context": {"cluster": cluster["name"], "user": user["name"]}}]
        config["current-context"] = ""
        path = folder / "kubeconfig"
        private(path, json.dumps(config))
        network = json.loads(said(["docker", "network", "inspect", profile]))
        yield Team(profile, tools, folder, network[0]["IPAM"]["Config"][0]["Gateway"], path)


def _status(minikube: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [*minikube, "status", "-f", "{{.APIServer}}"], capture_output=True, text=True, env=env, timeout=60
    )
    return done.stdout.strip()


def _start(profile: str, minikube: Sequence[str], tools: Toolchain, env: Mapping[str, str]) -> None:
    """Minikube with containerd; what its administrator sees to in the node, while it comes up."""
    ended = threading.Event()

    def administer() -> None:
        while not ended.wait(1.0):
            with suppress(RuntimeError, subprocess.TimeoutExpired):
                names = in_node(profile, "test -e /etc/containerd/config.toml && ctr -n k8s.io images ls -q")
                pause = next((one for one in names.split() if "/pause:" in one), None)
                if pause is not None:
                    in_node(profile, "cat > /etc/containerd/config.toml", _CONTAINERD.replace("PAUSE", pause))
                    in_node(profile, "systemctl restart containerd")
                    return

    version = tools.kubernetes_version or tools.versions["kubectl"]
    words = [*minikube, "start", "--driver", "docker", "--container-runtime", "containerd", "--cni", "bridge",
             "--kubernetes-version", version, "--cpus", "2", "--memory", "3g", "--keep-context",
             "--interactive=false", "--preload=false", "--cache-images=true", "--force",
             "--base-image", str(tools.node_image)]  # fmt: skip
    worker = threading.Thread(target=administer)
    worker.start()
    try:
        said(words, env=env)
    finally:
        ended.set()
        worker.join()


@contextmanager
def registry(folder: Path, address: str, *, tls: bool, password: bool) -> Iterator[tuple[str, Path | None]]:
    """A registry with nothing in it; its host and CA certificate."""
    host = f"{address}:{PORT}"
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    config: dict[str, Any] = {
        "version": 0.1, "log": {"level": "warn"}, "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {"addr": f"0.0.0.0:{PORT}"},
    }  # fmt: skip
    ca = None
    if tls:
        ca = certificates(folder, address)
        config["http"]["tls"] = {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}
    if password:
        config["auth"] = {"htpasswd": {"realm": "team", "path": str(folder / "htpasswd")}}
        (folder / "htpasswd").write_text(f"{USER}:{_bcrypt(PASSWORD)}\n")
    (folder / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "registry.log").open("w") as log, ExitStack() as stack:
        process = subprocess.Popen([program(), "serve", folder / "registry.yml"], stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        if ca is not None:  # what the administrator of this machine does
            trusted = Path("/etc/docker/certs.d") / host
            trusted.mkdir(parents=True, exist_ok=True)
            stack.callback(shutil.rmtree, trusted)
            shutil.copy(ca, trusted / "ca.crt")
        _await(f"http{'s' if tls else ''}://localhost:{PORT}/v2/")
        yield host, ca


def _bcrypt(password: str) -> str:
    """The hash as the registry reads it, by the system's own libcrypt."""
    import ctypes

    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    salt = "$2b$05$" + base64.b64encode(os.urandom(16)).decode().translate(str.maketrans("+=", "./"))[:22]
    found: bytes = crypt(password.encode(), salt.encode())
    return found.decode()


def _await(url: str) -> None:
    import ssl

    context = ssl._create_unverified_context()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    for _ in range(100):
        try:
            opener.open(url, timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
            continue
        return
    raise SystemExit(f"the registry does not answer at {url}")


def certificates(folder: Path, address: str) -> Path:
    """A company's CA certificate, and one that it signed for the registry."""
    new = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    ca, key, request = folder / "ca.pem", folder / "ca.key", folder / "server.csr"
    said(["openssl", "req", "-x509", *new, "-days", "2", "-subj", "/CN=Team CA", "-keyout", key, "-out", ca])
    said(["openssl", "req", *new, "-subj", f"/CN={address}", "-keyout", folder / "server.key", "-out", request])
    (folder / "names").write_text(f"subjectAltName=IP:{address},DNS:localhost\n")
    said(["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-CAcreateserial", "-days", "2",
          "-extfile", folder / "names", "-out", folder / "server.pem"])  # fmt: skip
    return ca


def private(path: Path, text: str) -> None:
    """The file is there, for this user only."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


@dataclass(frozen=True)
class Project:
    """An application's folder, and how the tool is run in it."""

    folder: Path
    env: Mapping[str, str]
    machine: str = ""
    """The host name that it sees; that of this machine where it is empty."""

    def run(self, *words: str) -> tuple[int, float, dict[str, Any], str]:
        """Exit code, seconds, the JSON document, and what was shown."""
        begun = time.monotonic()
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.machine] if self.machine else []
        done = subprocess.run(
            [*named, sys.executable, "-m", "deployer", *words, "-o", "json", "--progress", "plain", "--yes"],
            cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT), **self.env}, capture_output=True, text=True,
            timeout=1200,
        )  # fmt: skip
        document = json.loads(done.stdout) if done.stdout.strip() else {}
        return done.returncode, time.monotonic() - begun, document, done.stderr


def small(folder: Path, team: Team, spec: Mapping[str, Any]) -> Path:
    """The benchmark's application of two images, with this much more in its spec."""
    source = ROOT / "bench" / "app"
    for name in ("backend", "frontend"):
        shutil.copytree(source / "server", folder / name)
    shutil.copytree(source / "chart", folder / "chart")
    template = folder / "chart" / "templates" / next((source / "chart" / "templates").iterdir()).name
    secret = spec.get("registry", {}).get("pullSecret")
    if secret:
        text = template.read_text().replace(
            "      containers:", f"      imagePullSecrets: [{{name: {secret}}}]\n      containers:"
        )
        template.write_text(text)
    written = (
        (source / "todo-deploy.yaml").read_text().replace("namespace: bench-tool", f"namespace: {spec['namespace']}")
    )
    more = {name: value for name, value in spec.items() if name != "namespace"}
    written += "".join(f"{name}: {json.dumps(value)}\n" for name, value in more.items())
    # By digest where there is one: the chart writes what stands after the tag, too.
    written = written.replace('images.frontend.tag: "{tag}"', 'images.frontend.tag: "{tag}@{digest}"')
    (folder / "todo-deploy.yaml").write_text(written)
    private(folder / ".env", "TOKEN=a-token-of-the-bench\n")
    return folder


def whole(folder: Path, spec: Mapping[str, Any]) -> Path:
    """The default application, with this much more in its spec."""
    folder.mkdir(exist_ok=True)
    for name in ("app", "charts", "dockerfiles", "todo-deploy.yaml", ".env.example"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("node_modules", "__pycache__", ".next")
            )
        else:
            shutil.copy(source, folder / name)
    secret = spec.get("registry", {}).get("pullSecret")
    values = (
        {"releases": {"todo-app": {"values": {"global": {"imagePullSecrets": [{"name": secret}]}}}}} if secret else {}
    )
    (folder / "todo-deploy.local.yaml").write_text(json.dumps({**spec, **values}))
    return folder


@dataclass(frozen=True)
class Steps:
    """The steps of one project, each a row."""

    table: Table
    label: str
    project: Project

    def step(self, name: str, words: Sequence[str], code: int, *, built: int | None = None, says: str = "") -> None:
        """The command ended with the code, built so many images, and said that."""
        ended, took, document, shown = self.project.run(*words)
        data = document.get("data") or {}
        made = sum(one["built"] for one in data.get("images", ()))
        codes = ", ".join(dict.fromkeys(one["code"] for one in document.get("errors", ())))
        found = next((line.strip() for line in shown.splitlines() if says and says in line), "")
        good = ended == code and (built is None or made == built) and bool(found or not says)
        self.table.row(self.label, name, ended, f"{took:.0f} s", made, codes or found, good=good)
        if not good:
            print(shown[-3000:], file=sys.stderr)


def journey(table: Table, label: str, project: Project, change: Path, *, brief: bool = False) -> None:
    """First `up`, nothing to do, a change, a broken version with its rollback, `rollback`, `down`; `brief`: without
    the version in the middle."""
    step = Steps(table, label, project).step
    step("first `up`", ["up"], 0)
    step("`up` again", ["up"], 0, built=0)
    original = change.read_text()
    change.write_text(original + "\n# changed\n")
    step("`up` of a change", ["up"], 0)
    if not brief:
        change.write_text(BROKEN)
        step("`up` of a broken version", ["up"], 5)
        change.write_text(original + "\n# changed\n")
        step("`rollback`", ["rollback"], 0)
    step("`down`", ["down", "--volumes"], 0)


def main(words: Sequence[str] | None = None) -> int:
    """The tables are printed; 0 when every row is as it must be."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="http|tls|password|helpers|hosting|two|whole|rights", help="default: all"
    )
    parser.add_argument("--profile", default="todo-deploy-registry", help="the cluster's Minikube profile")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    asked = parser.parse_args(words)
    parts = set(asked.parts or ["http", "tls", "password", "helpers", "hosting", "two", "whole", "rights"])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was made is removed
    title = "A registry, and a cluster that is only a context"
    whole_run = not asked.parts
    with recorded("registry", title, "make registry", whole=whole_run), tempfile.TemporaryDirectory() as name:
        program()
        with team(Path(name), asked.profile, keep=asked.keep) as cluster:
            return _run(parts, cluster)


def _run(parts: set[str], cluster: Team) -> int:
    table = Table()
    print("| registry | step | exit | seconds | built | codes | |\n|---|---|--:|--:|--:|---|---|", flush=True)
    for label, tls, login in (("http", False, ""), ("tls", True, ""), ("password", True, "auths")):
        if label in parts:
            with registry(cluster.folder, cluster.address, tls=tls, password=bool(login)) as (host, ca):
                _small(table, label, cluster, host, ca, login=login)
    if "helpers" in parts:
        with registry(cluster.folder, cluster.address, tls=True, password=True) as (host, ca):
            for login in ("credHelpers", "credsStore"):
                _small(table, login.lower(), cluster, host, ca, login=login)
    if "hosting" in parts or "two" in parts:
        with registry(cluster.folder, cluster.address, tls=False, password=False) as (host, _):
            if "hosting" in parts:
                _hosting(table, cluster, host)
            if "two" in parts:
                _two(table, cluster, host)
    if "whole" in parts:
        with registry(cluster.folder, cluster.address, tls=True, password=True) as (host, ca):
            _whole(table, cluster, host, ca)
    if "rights" in parts:
        with registry(cluster.folder, cluster.address, tls=False, password=False) as (host, _):
            _rights(table, cluster, host)
    print("\nNo image is built where this machine's Docker has that very image from a run before: it is only pushed.")
    print(f"\n{'all as it must be' if not table.complaints else f'{table.complaints} COMPLAINTS'}; "
          f"{time.monotonic() - table.begun:.0f} s")  # fmt: skip
    return 1 if table.complaints else 0


def _environment(cluster: Team, folder: Path, host: str, *, login: str = "") -> dict[str, str]:
    """Docker's own configuration for this registry, and the team's kubeconfig.

    `login` is where the configuration has the password, or says who has it: `auths`, `credHelpers` or `credsStore`.
    """
    packed = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    known = {"auths": {host: {"auth": packed}}, "credHelpers": {host: "bench"}, "credsStore": "bench"}
    private(folder / "config.json", json.dumps({login: known[login]} if login else {}))
    helper = folder / "docker-credential-bench"
    private(helper, _HELPER.replace("NAME", USER).replace("WORD", PASSWORD))
    helper.chmod(0o700)
    return {
        "KUBECONFIG": str(cluster.kubeconfig),
        "DOCKER_CONFIG": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "PATH": f"{folder}:{os.environ['PATH']}",
    }


def _named(host: str, label: str, *, password: bool) -> dict[str, Any]:
    """The part of the spec that names the registry."""
    # Docker takes plain http of its own machine alone.
    push = {} if label != "http" else {"push": f"localhost:{PORT}/{label}"}
    return {"address": f"{host}/{label}", **push, **({"pullSecret": "team-registry"} if password else {})}


def _small(table: Table, label: str, cluster: Team, host: str, ca: Path | None, *, login: str) -> None:
    cluster.trusts(host, "https" if ca else "http", ca)
    spec = {
        "namespace": f"registry-{label}", "cluster": {"provider": "context", "context": "team-dev"},
        "registry": _named(host, label, password=bool(login)), "rollout": {"hold": "2s"},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = small(Path(name), cluster, spec)
        project = Project(folder, _environment(cluster, folder, host, login=login))
        brief = login.startswith("cred")
        journey(table, label, project, folder / "backend" / "server.py", brief=brief)


def _hosting(table: Table, cluster: Team, host: str) -> None:
    """Nothing of the spec names the registry: the cluster does (KEP-1755)."""
    cluster.trusts(host, "http", None)
    cluster.kubectl("apply", "-f", "-", text=_HOSTING.replace("PORT", str(PORT)).replace("HOST", host))
    spec = {
        "namespace": "registry-hosting", "cluster": {"provider": "context", "context": "team-dev"},
        "rollout": {"hold": "2s"},
    }  # fmt: skip
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "-n", "kube-public", "delete", "configmap", "local-registry-hosting")
        folder = small(Path(stack.enter_context(tempfile.TemporaryDirectory())), cluster, spec)
        project = Project(folder, _environment(cluster, folder, host))
        journey(table, "named by the cluster", project, folder / "backend" / "server.py", brief=True)


def _two(table: Table, cluster: Team, host: str) -> None:
    """Two developers, each with a machine of their own: name, home, cache, kubeconfig, Docker's configuration."""
    cluster.trusts(host, "http", None)
    namespace, own = "registry-team", "registry-bert"
    port = {"releases": {"bench": {"values": {"nodePort": 30993}}}, "urls": {"web": {"nodePort": 30993}}}
    profile = {"application": "bench-bert", "namespace": f"{own}-2", **port}
    spec = {
        "namespace": namespace, "cluster": {"provider": "context", "context": "team-dev"},
        "registry": _named(host, "http", password=False), "rollout": {"hold": "2s"}, "profiles": {"bert": profile},
    }  # fmt: skip
    with ExitStack() as stack:
        anna, bert = (_developer(stack, cluster, host, spec, name) for name in ("anna", "bert"))
        first, second = Steps(table, "anna", anna).step, Steps(table, "bert, at another machine", bert).step
        first("first `up`", ["up"], 0)
        second("`up` of the same sources", ["up"], 0, built=0)
        for one in (anna, bert):
            file = one.folder / "backend" / "server.py"
            file.write_text("import time\n\ntime.sleep(5)\n" + file.read_text())
        worker = threading.Thread(target=first, args=("`up` of a change", ["up"], 0))
        worker.start()
        for _ in range(600):
            if "todo-deploy" in cluster.kubectl("-n", namespace, "get", "leases", "-o", "name"):
                break
            time.sleep(0.1)
        second("`up` of that change, meanwhile", ["up"], 0, built=0, says="waiting for another run")
        worker.join()
        sets = (f"namespace={own}", "releases.bench.values.nodePort=30993", "urls.web.nodePort=30993")
        apart = [word for one in sets for word in ("--set", one)]
        second("`up --set namespace=…`", ["up", *apart], 0, built=0)
        second("`down --set namespace=…`", ["down", "--volumes", *apart], 0)
        second("`up --profile bert`, with a name of its own", ["up", "--profile", "bert"], 0, built=0)
        first("`up`, beside it", ["up"], 0, built=0)
        second("`down --profile bert`", ["down", "--volumes", "--profile", "bert"], 0)
        first("`down`", ["down", "--volumes"], 0)


def _developer(stack: ExitStack, cluster: Team, host: str, spec: Mapping[str, Any], name: str) -> Project:
    """A checkout of the application on a machine of that name."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder = small(home / "shop", cluster, spec)
    kubeconfig, cache = home / ".kube" / "config", home / ".cache" / "todo-deploy"
    kubeconfig.parent.mkdir()
    private(kubeconfig, cluster.kubeconfig.read_text())
    cache.mkdir(parents=True)
    (cache / "toolchain").symlink_to(this_machine().cache_dir / "toolchain")
    env = {**_environment(cluster, home, host), "HOME": str(home), "KUBECONFIG": str(kubeconfig),
           "XDG_CACHE_HOME": str(home / ".cache"), "XDG_STATE_HOME": str(home / ".state")}  # fmt: skip
    return Project(folder, env, name)


def _whole(table: Table, cluster: Team, host: str, ca: Path | None) -> None:
    cluster.trusts(host, "https", ca)
    spec = {
        "namespace": "registry-todo", "cluster": {"provider": "context", "context": "team-dev"},
        "registry": _named(host, "todo", password=True), "rules": {"allow": ["NAMESPACE"]},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = whole(Path(name), spec)
        project = Project(folder, _environment(cluster, folder, host, login="auths"))
        source = folder / "app" / "backend" / "todo_backend" / "app.py"
        journey(table, "the Todo Chatbot, password", project, source)


def _rights(table: Table, cluster: Team, host: str) -> None:
    """A user with a Role in one namespace."""
    cluster.trusts(host, "http", None)
    namespace = "registry-anna"
    cluster.kubectl("apply", "-f", "-", text=_RIGHTS.replace("NAME", namespace))
    token = cluster.kubectl("--namespace", namespace, "create", "token", "anna", "--duration", "2h").strip()
    config = json.loads(cluster.kubeconfig.read_text())
    config["users"] = [{"name": "anna", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "anna"
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "delete", "namespace", namespace, "--wait=false")
        name = stack.enter_context(tempfile.TemporaryDirectory())
        spec = {
            "namespace": namespace, "cluster": {"provider": "context", "context": "team-dev"},
            "registry": _named(host, "http", password=False), "rollout": {"hold": "2s"},
        }  # fmt: skip
        folder = small(Path(name), cluster, spec)
        private(folder / "kubeconfig", json.dumps(config))
        env = {**_environment(cluster, folder, host), "KUBECONFIG": str(folder / "kubeconfig")}
        project = Project(folder, env)
        _, _, _, shown = project.run("up")
        journey(table, "a Role in one namespace", project, folder / "backend" / "server.py")
        skipped = [line for line in shown.splitlines() if "NOT_ALLOWED" in line or "not looked at" in line]
        print("\nWhat the user without rights was told:\n\n```\n" + "\n".join(skipped) + "\n```", flush=True)


if __name__ == "__main__":
    sys.exit(main())
