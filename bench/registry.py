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
import re
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
from deployer.cluster.addons.images import Daemons, ensure_images, image_values, templates, waves
from deployer.cluster.addons.table import ADDONS
from deployer.composition import open_images, this_machine
from deployer.core.steps import drive
from deployer.images.delivery import ContainerNode
from deployer.toolchain import Toolchain, locate_toolchain

ROOT = Path(__file__).parent.parent
MODULE = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
USER, PASSWORD = "anna", "not-the-name-of-a-cat"
PORT = 5021
BROKEN = "raise SystemExit('broken')\n"
PARTS = (
    "http", "tls", "password", "helpers", "hosting", "two", "whole", "rights", "load", "push", "refused", "option",
    "storage", "ingress",
)  # fmt: skip
NOBODY = 5999
"""A port at which nobody listens."""
SHOP = "shop.example.test"
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
_CLAIMS = """\
{{- range $name, $class := dict "data" .Values.storageClass "cache" .Values.cacheClass }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: {{ $name }}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 8Mi}}
  {{- with $class }}
  storageClassName: {{ . }}
  {{- end }}
{{- end }}
"""
_VOLUMES = """\
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: data}}
        - {name: cache, persistentVolumeClaim: {claimName: cache}}
"""
_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  {{- with .Values.ingressClass }}
  ingressClassName: {{ . }}
  {{- end }}
  rules:
    - host: HOST
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: frontend, port: {number: 80}}}}]}
"""
_BALANCER = """\
apiVersion: v1
kind: Service
metadata: {name: traefik, namespace: ingress-nginx}
spec: {type: LoadBalancer, selector: {app: traefik}, ports: [{port: 80, targetPort: web}]}
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


_KUBEADM = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler")


def _start(profile: str, minikube: Sequence[str], tools: Toolchain, env: Mapping[str, str]) -> None:
    """Minikube with containerd; what its administrator sees to in the node, while it comes up."""
    ended = threading.Event()

    def administer() -> None:
        while not ended.wait(1.0):
            with suppress(RuntimeError, subprocess.TimeoutExpired):
                names = in_node(profile, "test -e /etc/containerd/config.toml && ctr -n k8s.io images ls -q")
                pause = next((one for one in names.split() if "/pause:" in one), None)
                # A restart would break off the loading of the others, of which kubeadm needs each.
                if pause is not None and all(f"/{one}:" in names for one in _KUBEADM):
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


class Server:
    """The registry's process, which writes a line for each request."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = folder / "registry.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """It is started; it answers soon."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [program(), "serve", self._folder / "registry.yml"], stdout=log, stderr=log
            )

    def stop(self) -> None:
        """It is gone at once, with what it was just receiving."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stored(self) -> list[str]:
        """The digests of the layers and configurations that it took, as often as it took them."""
        return re.findall(r'"PUT \S*/blobs/uploads/\S*digest=sha256%3A(\w+)\S* \S+" 201 ', self.log.read_text())


@contextmanager
def registry(
    folder: Path, address: str, *, tls: bool, password: bool, trusted: bool = True, server: Server | None = None
) -> Iterator[tuple[str, Path | None]]:
    """A registry with nothing in it; its host and CA certificate, which this machine's Docker has where `trusted`."""
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
    server = server or Server(folder)
    server.log.unlink(missing_ok=True)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        if ca is not None and trusted:  # what the administrator of this machine does
            place = Path("/etc/docker/certs.d") / host
            place.mkdir(parents=True, exist_ok=True)
            stack.callback(shutil.rmtree, place)
            shutil.copy(ca, place / "ca.crt")
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
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="default: all")
    parser.add_argument("--profile", default="todo-deploy-registry", help="the cluster's Minikube profile")
    parser.add_argument("--keep", action="store_true", help="leave the cluster")
    asked = parser.parse_args(words)
    parts = set(asked.parts or PARTS)
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
    for name, tls, part in (
        ("hosting", False, _hosting), ("two", False, _two), ("whole", True, _whole), ("rights", False, _rights),
        ("option", True, _option), ("storage", False, _storage), ("ingress", False, _ingress),
    ):  # fmt: skip
        if name in parts:
            with registry(cluster.folder, cluster.address, tls=tls, password=name == "whole") as (host, ca):
                cluster.trusts(host, "https" if ca else "http", ca)
                part(table, cluster, host)
    for label, alone in (("load", _load), ("push", _push), ("refused", _refused)):
        if label in parts:
            alone(table, cluster)
    path = "{.items[0].status.nodeInfo.kubeletVersion}, {.items[0].status.nodeInfo.containerRuntimeVersion}"
    print("\nThe cluster: " + cluster.kubectl("get", "nodes", "-o", f"jsonpath={path}"))
    print("\nNo image is built where this machine's Docker has that very image from a run before: it is only pushed.")
    print(f"\n{'all as it must be' if not table.complaints else f'{table.complaints} COMPLAINTS'}; "
          f"{time.monotonic() - table.begun:.0f} s")  # fmt: skip
    return 1 if table.complaints else 0


def _environment(
    cluster: Team, folder: Path, host: str, *, login: str = "", password: str = PASSWORD
) -> dict[str, str]:
    """Docker's own configuration for this registry, and the team's kubeconfig.

    `login` is where the configuration has the password, or says who has it: `auths`, `credHelpers` or `credsStore`.
    """
    packed = base64.b64encode(f"{USER}:{password}".encode()).decode()
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
    cluster.kubectl("apply", "-f", "-", text=_HOSTING.replace("PORT", str(PORT)).replace("HOST", host))
    spec = {
        "namespace": "registry-hosting", "cluster": {"provider": "context", "context": "team-dev"},
        "rollout": {"hold": "2s"},
    }  # fmt: skip
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "-n", "kube-public", "delete", "configmap", "local-registry-hosting")
        folder = small(Path(stack.enter_context(tempfile.TemporaryDirectory())), cluster, spec)
        project = Project(folder, _environment(cluster, folder, host))
        steps = (project.run("plan")[2].get("data") or {}).get("steps", ())
        reason = next((str(one["reason"]).partition("\n")[2] for one in steps if one["kind"] == "cluster"), "")
        table.row("named by the cluster", "`plan`", "", "", 0, reason, good=host in reason)
        journey(table, "named by the cluster", project, folder / "backend" / "server.py", brief=True)


def _two(table: Table, cluster: Team, host: str) -> None:
    """Two developers, each with a machine of their own: name, home, cache, kubeconfig, Docker's configuration."""
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


def _load(table: Table, cluster: Team) -> None:
    """No registry: the nodes are containers of this machine's Docker, with containerd."""
    with tempfile.TemporaryDirectory() as name:
        # A kubelet of 1.35 and newer pulls anew what it has once pulled with credentials, whatever name it has here.
        folder = _new(Path(name), cluster, "", "load")
        project = Project(folder, _environment(cluster, folder, ""))
        journey(table, "none, `delivery: load`", project, folder / "backend" / "server.py")


def _new(folder: Path, cluster: Team, host: str, label: str, size: int = 0) -> Path:
    """The small application, whose images nobody has built before; that of the backend with a layer of that size."""
    way: dict[str, Any] = {"registry": _named(host, label, password=False)} if host else {"delivery": "load"}
    spec = {"namespace": f"registry-{label}", "cluster": {"provider": "context", "context": "team-dev"},
            "rollout": {"hold": "2s"}, **way}  # fmt: skip
    small(folder, cluster, spec)
    for name in ("backend", "frontend"):
        (folder / name / "layer").write_bytes(os.urandom(size if name == "backend" and size else 64))
        dockerfile = folder / name / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text().replace("COPY server.py", "COPY layer .\nCOPY server.py"))
    return folder


def _push(table: Table, cluster: Team) -> None:
    """What travels: layers that the registry has do not, also where it was killed in a push."""
    server = Server(cluster.folder)
    with (
        registry(cluster.folder, cluster.address, tls=False, password=False, server=server) as (host, _),
        tempfile.TemporaryDirectory() as name,
    ):
        cluster.trusts(host, "http", None)
        folder = _new(Path(name), cluster, host, "http", 150 * 2**20)
        project, label = Project(folder, _environment(cluster, folder, host)), "http, what is pushed"
        step, before = Steps(table, label, project).step, list[str]()

        def fail() -> None:
            while not before:
                time.sleep(0.02)
                before.extend(server.stored())
            server.stop()
            before[:] = server.stored()
            time.sleep(4)
            server.start()

        worker = threading.Thread(target=fail)
        worker.start()
        step("`up`; the registry is killed in the push, and back after 4 s", ["up"], 0)
        worker.join()
        every, second = server.stored(), len(before)
        again = set(before) & set(every[second:])
        said = f"{second} taken before, {len(every) - second} after, {len(again)} of them again"
        table.row(label, "layers and configurations", "", "", "", said, good=bool(before) and not again)
        step("`up` again", ["up"], 0, built=0)
        table.row(label, "layers and configurations", "", "", "", f"{len(server.stored()) - len(every)} taken",
                  good=server.stored() == every)  # fmt: skip
        file = folder / "backend" / "server.py"
        file.write_text(file.read_text() + "\n# changed\n")
        step("`up` of a change", ["up"], 0, built=1)
        sent = len(server.stored()) - len(every)
        table.row(label, "layers and configurations", "", "", "", f"{sent} taken", good=sent == 2)
        step("`down`", ["down", "--volumes"], 0)


def _refused(table: Table, cluster: Team) -> None:
    """What is said before anything is built, by `up` and by `doctor`."""
    host = f"{cluster.address}:{PORT}"

    def expect(what: str, code: str, *, label: str = "tls", password: str = PASSWORD) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = _new(Path(name), cluster, host, label)
            env = _environment(cluster, folder, host, login="auths", password=password)
            if label == "plain":
                (folder / "todo-deploy.local.yaml").write_text(json.dumps({"registry": {"address": f"{host}/plain"}}))
            project = Project(folder, env)
            ended, took, document, shown = project.run("up")
            codes = [one["code"] for one in document.get("errors", ())]
            first = document.get("errors", ({"hints": [""]},))[0]
            checks = (project.run("doctor")[2].get("data") or {}).get("checks", ())
            found = next((one for one in checks if one["name"] == "registry"), {"state": "nothing"})
            good = codes == [code] and ended == 4 and "first build" not in shown and found["state"] == "fail"
            table.row(what, "`up`", ended, f"{took:.0f} s", 0, f"{', '.join(codes)}; `{first['hints'][0]}`", good=good)

    expect("nobody listens", "REGISTRY_UNREACHABLE")
    with registry(cluster.folder, cluster.address, tls=False, password=False):
        expect("http where Docker wants https", "REGISTRY_HTTP", label="plain")
    with registry(cluster.folder, cluster.address, tls=True, password=True, trusted=False):
        expect("a certificate that Docker does not know", "REGISTRY_CERTIFICATE")
    with registry(cluster.folder, cluster.address, tls=True, password=True):
        expect("a wrong password", "REGISTRY_LOGIN", password="the-name-of-a-cat")


def _held(cluster: Team) -> list[str]:
    """The tags that the registry has."""
    folder = cluster.folder / "data" / "docker" / "registry" / "v2" / "repositories"
    tags = (one.relative_to(folder) for one in folder.glob("**/_manifests/tags/*"))
    return sorted(f"{one.parent.parent.parent}:{one.name}" for one in tags)


def _option(table: Table, cluster: Team, host: str) -> None:
    """`--registry` over the spec's registry, and over that which the cluster names: neither answers."""
    nobody, namespace, label = f"{cluster.address}:{NOBODY}", "registry-option", "`--registry`"
    hosting = _HOSTING.replace("PORT", str(NOBODY)).replace("HOST", nobody)
    cluster.kubectl("apply", "-f", "-", text=hosting)
    with ExitStack() as stack:
        stack.callback(cluster.kubectl, "-n", "kube-public", "delete", "configmap", "local-registry-hosting")
        folder = _new(Path(stack.enter_context(tempfile.TemporaryDirectory())), cluster, nobody, "option")
        (folder / "todo-deploy.local.yaml").write_text(json.dumps({"registry": {"push": f"localhost:{NOBODY}/option"}}))
        project, asked = Project(folder, _environment(cluster, folder, host)), ["--registry", f"{host}/line"]
        unnamed = ["--set", "registry.address=null", "--set", "registry.push=null"]
        for name, words, place in (
            ("`plan` by the spec", [], nobody),
            ("`plan` by the cluster", unnamed, f"{nobody} (kube-public/local-registry-hosting names it"),
            ("`plan --registry` over the spec", asked, f"{host}/line"),
            ("`plan --registry` over the cluster", [*unnamed, *asked], f"{host}/line"),
        ):
            ended, took, document, _ = project.run("plan", *words)
            steps = (document.get("data") or {}).get("steps", ())
            codes = ", ".join(one["code"] for one in document.get("errors", ()))
            reason = next((str(one["reason"]).partition("\n")[2] for one in steps if one["kind"] == "cluster"), codes)
            table.row(label, name, ended, f"{took:.0f} s", 0, reason, good=place in reason or "UNREACHABLE" in reason)
        step = Steps(table, label, project).step
        step("first `up --registry`", ["up", *asked], 0, built=2)
        before = _held(cluster)
        table.row(label, "in the registry", "", "", "", "; ".join(before),
                  good=len(before) == 2 and all(one.startswith("line/") for one in before))  # fmt: skip
        path = "jsonpath={.items[*].status.containerStatuses[*].imageID}"
        ids = cluster.kubectl("-n", namespace, "get", "pods", "-o", path).split()
        table.row(label, "the pods' images", "", "", "", "; ".join(sorted(ids)),
                  good=len(ids) == 2 and all(one.startswith(f"{host}/line/") for one in ids))  # fmt: skip
        step("`up --registry` again", ["up", *asked], 0, built=0)
        step("`images prune --registry`", ["images", "prune", *asked], 0)
        step("`down --registry`", ["down", "--volumes", *asked], 0)
        table.row(label, "in the registry after it", "", "", "", "the same" if _held(cluster) == before else "less",
                  good=_held(cluster) == before)  # fmt: skip


def _value(name: str, value: str) -> list[str]:
    """The words that give the chart this value."""
    return ["--set", f"releases.bench.values.{name}={value}"]


def _storage(table: Table, cluster: Team, host: str) -> None:
    """Claims by the default class and by its name, by one that the cluster lacks, and where no class is the default."""
    label, default = "storage classes", "storageclass.kubernetes.io/is-default-class"
    with tempfile.TemporaryDirectory() as name:
        folder = _new(Path(name), cluster, host, "http")
        template = next((folder / "chart" / "templates").iterdir())
        template = next(
            one for one in (folder / "chart" / "templates").iterdir() if "kind: Deployment" in one.read_text()
        )
        template.write_text(template.read_text().replace("      containers:", _VOLUMES + "      containers:"))
        (folder / "chart" / "templates" / "claims.yaml").write_text(_CLAIMS)
        project = Project(folder, _environment(cluster, folder, host))
        named = _value("cacheClass", "standard")
        _refuses(
            table, label, "a claim of a class that is not there", project, [*named, *_value("storageClass", "fast")]
        )
        cluster.kubectl("annotate", "storageclass", "standard", "--overwrite", f"{default}=false")
        try:
            _refuses(table, label, "a claim without a class, and none is the default", project, named)
        finally:
            cluster.kubectl("annotate", "storageclass", "standard", "--overwrite", f"{default}=true")
        step = Steps(table, label, project).step
        step("`up` of a claim without a class", ["up", *named], 0)
        path = "jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.spec.storageClassName}{'\\n'}{end}"
        claims = cluster.kubectl("-n", "registry-http", "get", "pvc", "-o", path).split("\n")
        wanted = ["cache Bound standard", "data Bound standard"]
        table.row(
            label,
            "its claims",
            "",
            "",
            "",
            "; ".join(filter(None, claims)),
            good=sorted(filter(None, claims)) == wanted,
        )
        step("`down`", ["down", "--volumes", *named], 0)


def _refuses(table: Table, label: str, what: str, project: Project, words: Sequence[str]) -> None:
    """`up` refuses it with STORAGE_CLASS and its place, before anything is built."""
    ended, took, document, shown = project.run("up", *words)
    errors = document.get("errors", ())
    said = "; ".join(f"{one['code']}: {one['title']} ({one['where']})" for one in errors)
    good = ended == 2 and {one["code"] for one in errors} == {"STORAGE_CLASS"} and all(one["where"] for one in errors)
    table.row(label, f"`up`: {what}", ended, f"{took:.0f} s", 0, said, good=good and "building" not in shown)


def _ingress(table: Table, cluster: Team, host: str) -> None:
    """Ingresses by a class that is not there, that is, and that is the default; a URL through each that is served."""
    label = "Ingress classes"
    with tempfile.TemporaryDirectory() as name:
        folder = _new(Path(name), cluster, host, "http")
        (folder / "chart" / "templates" / "ingress.yaml").write_text(_INGRESS.replace("HOST", SHOP))
        project = Project(folder, _environment(cluster, folder, host))
        step, url = Steps(table, label, project).step, ["--set", f"urls.shop.ingressHost={SHOP}"]
        nginx = _value("ingressClass", "nginx")
        step("`up`: a class that is not there, and no URL through it", ["up", *nginx], 0, says="INGRESS_CLASS")
        _controller(cluster)
        step("a controller is there: `up` with a URL through the Ingress", ["up", *nginx, *url], 0, says=f"{SHOP}/")
        step("`up`: no class, and one is the default", ["up", *url], 0, says=f"{SHOP}/")
        another = _value("ingressClass", "trafik")
        step("`up`: a class that is not there", ["up", *another, *url], 5, says="INGRESS_CLASS")
        step("`down`", ["down", "--volumes", *url], 0)


def _controller(cluster: Team) -> None:
    """The Ingress controller that the addon of a Minikube cluster is, installed by the cluster's administrator behind a
    load balancer's address instead of the node's ports."""
    here, addon = this_machine(), ADDONS["ingress"]
    daemon = open_images(here.host_docker)
    daemons = Daemons(daemon, {here.host_docker: daemon})
    drive(ensure_images([addon], cluster.tools.docker, daemons, here.cache_dir, here.env), lambda _: None)
    images = image_values(addon, here.cache_dir, here.env)
    for ref in images.values():
        ContainerNode(cluster.profile, "containerd", cluster.tools.docker, here.env).load(ref)
    address = f"{cluster.address.rpartition('.')[0]}.240"
    in_node(cluster.profile, f"ip address replace {address}/32 dev eth0")
    for wave in waves(addon.name, templates(addon.name), {"NODE_IP": address, **images}):
        for body in wave:
            if body["kind"] == "Deployment":
                for port in body["spec"]["template"]["spec"]["containers"][0]["ports"]:
                    port.pop("hostPort", None)
        cluster.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(wave)}))
    cluster.kubectl("apply", "-f", "-", text=_BALANCER)
    given = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})
    ours = ["-n", "ingress-nginx"]
    cluster.kubectl(*ours, "patch", "service", "traefik", "--subresource", "status", "--type", "merge", "-p", given)
    cluster.kubectl(*ours, "rollout", "status", "deployment/traefik", "--timeout", "180s")


def _whole(table: Table, cluster: Team, host: str) -> None:
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
