"""A Minikube profile: what it is, without asking Minikube where files and Docker know; `minikube start` as events.

`minikube start` on a running profile takes half a minute and restarts the system pods, and `minikube status` alone
takes a quarter of a second: on the quiet path no Minikube process is started.
"""

from __future__ import annotations

import ipaddress
import os
import subprocess
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deployer.core.errors import DeployError, machine_error, refused
from deployer.core.events import Event, Item, ItemState, Log
from deployer.core.files import write_private
from deployer.core.objects import fitted
from deployer.core.ports import ClusterFacts, DockerEndpoint, NodeFacts, StartRequest
from deployer.core.process import CommandFailed, run, stream
from deployer.core.reading import Malformed, parse_json, read_json, shaped
from deployer.core.shell import no_proxy
from deployer.kube.kubeconfig import current_context_kept, read, refuse_foreign, restore_current_context, server_of
from deployer.state.lock import held
from deployer.status import ClusterPhase
from deployer.toolchain import NODE_IMAGES, Toolchain, minikube_home, seed_minikube
from deployer.toolchain.model import minor_version

STAGE = "cluster"
_EVENT = "io.k8s.sigs.minikube."
_DAEMON_PORT = "2376/tcp"
_MADE_BY, _OF_PROFILE = "created_by.minikube.sigs.k8s.io", "name.minikube.sigs.k8s.io"
_API_PORT = 8443
# From 1.36 on the kubelet itself answers `kubectl exec` by WebSocket, and asks the runtime at the address it was given.
# That of cri-dockerd has no scheme (its cmd/server.go: BaseURL), so that the kubelet speaks TLS to a server of plain
# http. Without the feature the API server translates, as before.
_EXEC_BY_WEBSOCKET = ((1, 36), (1, 37))
_CONFIG = {
    "Driver": str, "CPUs": int, "Memory": int, "APIServerPort": int,
    "KubernetesConfig": {"KubernetesVersion": str, "ContainerRuntime": str},
    "MultiNodeRequested": bool, "ContainerVolumeMounts": [str], "Nodes": [{"Name": str}],
}  # fmt: skip
"""A profile's config.json, as far as it is read."""
_CONTAINER = {
    "Id": str,
    "State": {"Paused": bool, "Running": bool}, "Config": {"Labels": {"*": str}},
    "NetworkSettings": {
        "Ports": {"*": [{"HostPort": str}]}, "Networks": {"*": {"IPAddress": str, "IPPrefixLen": int}},
    },
}  # fmt: skip
"""What `docker inspect` shows of the node, as far as it is read."""
_WAKE_SECONDS = 20
_VOLUMES_FOLDER = "/var/hostpath-provisioner"
"""Where a node keeps the volumes of Minikube's provisioner, in our node image and in Minikube's."""
_KUBELET_CONFIG = "/etc/kubernetes/kubelet.conf"
_SCHEDULER_CONFIG = "/etc/kubernetes/scheduler.conf"
_NODE_RUNS = "Preparing Kubernetes"
"""Minikube's step in which the node's container runs and nothing of Kubernetes does yet."""
# The kubelet renews its certificate of a year while it runs. After its end it does not start any more, and neither
# `minikube start` nor `kubeadm certs renew` renews it. The CA that signs it is on the node.
_RENEW_KUBELET = """sudo sh -c '
cd /var/lib/kubelet/pki && pem=kubelet-client-current.pem ca=/var/lib/minikube/certs/ca
[ ! -e $pem ] || openssl x509 -checkend 3600 -noout -in $pem || {
  echo extendedKeyUsage=clientAuth > usage
  openssl x509 -x509toreq -in $pem -signkey $pem |
    openssl x509 -req -CA $ca.crt -CAkey $ca.key -set_serial 0x$(openssl rand -hex 8) -days 365 -extfile usage > new &&
    openssl pkey -in $pem >> new && cat new > $pem
  rm -f new usage
}'"""
_KUBEADM_CONFIG = "tmp/minikube/kubeadm.yaml"
"""What Minikube configured a node by, in the node's volume, which is its /var."""
_AUTHORIZED_KEYS = "/home/docker/.ssh/authorized_keys"
# The last error is a box that asks for a bug report; what went wrong is the one before.
_BOX = "\u256d"


@dataclass(frozen=True, slots=True)
class NodeContainers:
    """The host's Docker daemon: a container by its name, and a file in one.

    `load` gives a node's daemon what it lacks of these images and returns that; `new_volume` is empty and has these
    labels, `remove_volume` is gone; `empty_file` leaves a volume's file empty.
    """

    inspect: Callable[[str], Mapping[str, Any] | None]
    read_file: Callable[[str, str], str | None]
    load: Callable[[DockerEndpoint, Sequence[str]], Sequence[str]] = lambda node, refs: ()
    new_volume: Callable[[str, Mapping[str, str]], None] = lambda name, labels: None
    remove_volume: Callable[[str], None] = lambda name: None
    empty_file: Callable[[str, str], None] = lambda volume, path: None


class Minikube:
    """One profile, whose node is a container of the host's Docker.

    `note` is a file in which a start that is killed leaves what the user's current context was.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        profile: str,
        env: Mapping[str, str],
        containers: NodeContainers,
        kubeconfig: Path,
        note: Path,
    ) -> None:
        self._toolchain = toolchain
        self._profile = profile
        self._env = dict(env)
        self._home = minikube_home(env)
        self._containers = containers
        self._filled: set[str] = set()
        self._volumes = f"{profile}-volumes"
        self._kubeconfig = kubeconfig
        self._note = note

    def facts(self) -> ClusterFacts:
        """The profile as its files and its node's container show it."""
        config = self._config()
        if config is None:
            self._refuse_strange_node()
            return ClusterFacts(ClusterPhase.MISSING)
        kubernetes = config.get("KubernetesConfig") or {}
        known = {
            "driver": config.get("Driver", ""),
            "kubernetes_version": kubernetes.get("KubernetesVersion", ""),
            "cpus": config.get("CPUs", 0),
            "memory_mib": config.get("Memory", 0),
            "shared_volumes": f"{self._volumes}:{_VOLUMES_FOLDER}" in (config.get("ContainerVolumeMounts") or ()),
        }
        if known["driver"] != "docker":
            return self._asked(known)
        container = self._node()
        if container is None:
            return ClusterFacts(ClusterPhase.BROKEN, detail="the node's container is gone", **known)
        self._refuse_node_of_another_user(container.get("Id", ""))
        state = container.get("State") or {}
        if state.get("Paused"):
            return ClusterFacts(ClusterPhase.PAUSED, **known)
        if not state.get("Running"):
            return ClusterFacts(ClusterPhase.STOPPED, **known)
        network = container.get("NetworkSettings") or {}
        endpoint = self._daemon(container, config)
        attached = (network.get("Networks") or {}).get(self._profile) or {}
        node_ip, api_port = str(attached.get("IPAddress") or ""), int(config.get("APIServerPort") or _API_PORT)
        published = _published(network, f"{api_port}/tcp")
        servers = {f"{node_ip}:{api_port}", f"127.0.0.1:{published}"}
        return ClusterFacts(
            ClusterPhase.RUNNING,
            node_ip=node_ip or None,
            docker=endpoint,
            node_network=_network(attached),
            moved_from=self._moved_from(servers) if node_ip else "",
            nodes=(NodeFacts(self._profile, True, endpoint, _runtime(config)), *self._workers(config)),
            **known,
        )

    def _workers(self, config: Mapping[str, Any]) -> Iterator[NodeFacts]:
        """The nodes besides the control plane's, which Minikube names in the cluster as their containers."""
        for node in config.get("Nodes") or ():
            if node.get("Name"):
                name = f"{self._profile}-{node['Name']}"
                container = self._node(name) or {}
                running = bool((container.get("State") or {}).get("Running"))
                yield NodeFacts(name, running, self._daemon(container, config) if running else None, _runtime(config))

    def _daemon(self, container: Mapping[str, Any], config: Mapping[str, Any]) -> DockerEndpoint | None:
        """The node's own Docker, where that runs its pods."""
        port = _published(container.get("NetworkSettings") or {}, _DAEMON_PORT)
        usable = port and _runtime(config) == "docker"
        return DockerEndpoint(f"tcp://127.0.0.1:{port}", self._home / "certs") if usable else None

    def start(self, request: StartRequest) -> Generator[Event, None, None]:
        """The profile runs; Minikube's own steps are reported as they come."""
        refuse_foreign(self._kubeconfig, request.profile)  # Minikube writes over whatever has the profile's name
        if self._config() is None:
            self._refuse_version(request)
        elif request.driver == "docker":
            self._configure_anew_where_lost()
        seed_minikube(self._toolchain, self._env)
        words, credentials = self._start_words(request), self._credentials(request)
        yield Item(STAGE, request.profile, ItemState.RUNNING, "starting Minikube")
        error: Mapping[str, Any] = {}
        try:
            with self._current_context_kept():
                for line in stream(words, env=self._environment(), inherit=held()):
                    event = _parsed(line)
                    if event is None:
                        yield Log(STAGE, request.profile, line)
                        continue
                    kind, data = event
                    if kind == "error" and not str(data.get("message", "")).lstrip().startswith(_BOX):
                        error = data
                    yield from _events(request.profile, kind, data)
                    if kind == "step":
                        yield from self._fill()
                    if data.get("name") == _NODE_RUNS and credentials:
                        self._on_node(_RENEW_KUBELET)
        except CommandFailed as failed:
            advice = str(error.get("advice") or "").strip()
            raise machine_error(
                "CLUSTER_START",
                f"Minikube could not start profile `{request.profile}`",
                detail=str(error.get("message") or "\n".join(_readable(failed.tail))).strip(),
                hints=tuple(filter(None, (advice, "todo-deploy doctor"))),
            ) from None
        yield from self._fill(last=True)
        if credentials and credentials != self._credentials(request):
            self._on_node("sudo", "pkill", "kube-[sc]")  # kube-scheduler and kube-controller-manager
            yield Item(STAGE, request.profile, ItemState.RUNNING, "its certificates were renewed")
        yield Item(STAGE, request.profile, ItemState.DONE, "Minikube runs")

    def _credentials(self, request: StartRequest) -> str:
        """What the scheduler shows the API server. `minikube start` renews certificates that have expired after the
        scheduler has begun again with the old one, which it would go on showing (kubeadm certs renew: "you must
        restart the kube-apiserver, kube-controller-manager, kube-scheduler and etcd"; the others read theirs anew).
        """
        known = request.driver == "docker" and self._config() is not None
        return (self._containers.read_file(self._profile, _SCHEDULER_CONFIG) or "") if known else ""

    def _start_words(self, request: StartRequest) -> list[str]:
        words = [
            self._toolchain.minikube, "start", "--profile", request.profile, "--output", "json",
            "--driver", request.driver, "--container-runtime", "docker",
            "--kubernetes-version", request.kubernetes_version,
            "--cpus", request.cpus, "--memory", f"{request.memory_mib}m", "--disk-size", request.disk,
            "--keep-context", "--interactive=false", "--delete-on-failure=false",
            "--wait", "apiserver,system_pods,default_sa,node_ready",
        ]  # fmt: skip
        if self._toolchain.node_image is not None:
            words += ["--base-image", self._toolchain.node_image]
        if self._toolchain.offline_images:
            words += ["--preload=false", "--cache-images=true"]
        if minor_version(request.kubernetes_version) in _EXEC_BY_WEBSOCKET:
            words += ["--feature-gates", "ExtendWebSocketsToKubelet=false"]
        if request.nodes > 1 and self._config() is None:
            words += ["--nodes", request.nodes, *self._shared_volumes(request)]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            # Minikube refuses the docker driver as root unless forced (DRV_AS_ROOT), also when it starts again.
            words += ["--force"]
        return [str(word) for word in words]

    def _configure_anew_where_lost(self) -> None:
        """Minikube will write the node's configuration anew where it has gone with the container, as after
        `docker system prune`.

        What the node keeps in its volume would say that all is there (bootstrapper/kubeadm: needsReconfigure compares
        this file), and the kubelet would never start for want of its kubeconfig.
        """
        if self._containers.read_file(self._profile, _KUBELET_CONFIG) is None:
            self._containers.empty_file(self._profile, _KUBEADM_CONFIG)

    def start_node(self, name: str) -> Generator[Event, None, None]:
        """The profile's node runs again; its container is made anew where it is gone."""
        yield Item(STAGE, name, ItemState.RUNNING, "it is stopped: starting it")
        yield from self._changed_node(name, "start", name.removeprefix(f"{self._profile}-"))

    def add_node(self) -> Generator[Event, None, None]:
        """The profile has one node more, a worker."""
        yield Item(STAGE, self._profile, ItemState.RUNNING, "adding a node")
        yield from self._changed_node(self._profile, "add")

    def _changed_node(self, item: str, *action: str) -> Generator[Event, None, None]:
        seed_minikube(self._toolchain, self._env)
        words = [str(self._toolchain.minikube), "node", *action, "--profile", self._profile]
        try:
            with self._current_context_kept():
                for line in stream(words, env=self._environment(), inherit=held()):
                    yield Log(STAGE, item, line)
                    yield from self._fill()
        except CommandFailed as failed:
            raise machine_error(
                "NODE_START",
                f"Minikube could not {action[0]} a node of profile `{self._profile}`",
                detail=failed.output.strip(),
                hints=(f"minikube node {' '.join(action)} --profile {self._profile}", "todo-deploy doctor"),
            ) from None
        yield from self._fill(last=True)
        yield Item(STAGE, item, ItemState.DONE, f"Minikube has done `node {' '.join(action)}`")

    def _shared_volumes(self, request: StartRequest) -> list[str]:
        """Volumes of class `standard` are folders of a node: all nodes get the same ones, as one volume of Docker's.

        The provisioner makes a folder in the node that it runs in, and the volume does not say which node that is.
        """
        if request.driver != "docker":
            return []
        # Minikube deletes the volumes of each node by their label, in turn, and this one is in use until the last.
        last = f"{self._profile}-m{request.nodes:02}"
        self._containers.new_volume(self._volumes, {_MADE_BY: "true", _OF_PROFILE: last})
        return ["--mount", "--mount-string", f"{self._volumes}:{_VOLUMES_FOLDER}"]

    def _fill(self, *, last: bool = False) -> Generator[Event, None, None]:
        """Nodes have the images of the cluster's own pods that no registry can give them; Minikube brings some of them
        to the first node only. A daemon that is just being configured is asked again at the `last` call at the latest.
        """
        config = self._config()
        if config is None or not self._toolchain.offline_images or not config.get("MultiNodeRequested"):
            return
        first = self._node(self._profile) or {}
        for node in (NodeFacts(self._profile, True, self._daemon(first, config)), *self._workers(config)):
            if node.docker is None or node.name in self._filled:
                continue
            try:
                loaded = self._containers.load(node.docker, NODE_IMAGES)
            except DeployError:
                if last:
                    raise
                continue
            self._filled.add(node.name)
            if loaded:
                yield Item(STAGE, node.name, ItemState.DONE, f"{len(loaded)} of the cluster's images loaded")

    def wake(self, node: str = "") -> None:
        """The node's kubelet has begun anew, if it can: what it put off for having ended too often starts at once.

        `minikube start` leaves a kubelet that runs as it is, and waits for what that puts off, up to five minutes
        (bootstrapper/kubeadm: restartPrimaryControlPlane, "does not require reconfiguration").
        """
        self._on_node("sudo", "systemctl", "restart", "kubelet", node=node)

    def _on_node(self, *command: str, node: str = "") -> None:
        """The command was run on the node, the first one if none is named, if it can be asked."""
        which = ["--node", node.removeprefix(f"{self._profile}-")] if node not in ("", self._profile) else []
        words = ["--profile", self._profile, "ssh", *which, "--", *command]
        with suppress(CommandFailed, subprocess.TimeoutExpired):
            run([self._toolchain.minikube, *words], env=self._environment(), timeout=_WAKE_SECONDS)

    def delete(self) -> Generator[Event, None, None]:
        """The profile is gone with everything in it; refused where it is not this user's, machine error where
        Minikube cannot delete it.
        """
        refuse_foreign(self._kubeconfig, self._profile)  # Minikube removes the context of the profile's name
        has_more_nodes = len(self.facts().nodes) > 1
        words = [str(self._toolchain.minikube), "delete", "--profile", self._profile]
        try:
            for line in stream(words, env=self._environment(), inherit=held()):
                yield Log(STAGE, self._profile, line)
        except CommandFailed as failed:
            raise machine_error(
                "CLUSTER_DELETE",
                f"Minikube could not delete profile `{self._profile}`",
                detail="\n".join(_readable(failed.tail)).strip(),
                hints=(f"minikube delete --profile {self._profile}", "todo-deploy doctor"),
            ) from None
        if has_more_nodes:
            self._containers.remove_volume(self._volumes)

    def write_context(self) -> None:
        """The kubeconfig has the profile's context, where the cluster is well enough for Minikube to report it."""
        refuse_foreign(self._kubeconfig, self._profile)
        with self._current_context_kept(), suppress(CommandFailed):
            run([self._toolchain.minikube, "--profile", self._profile, "update-context"], env=self._environment())

    def enable_addon(self, name: str) -> Generator[Event, None, None]:
        """Minikube's own addon is switched on; machine error where Minikube does not have or cannot get it."""
        words = [self._toolchain.minikube, "addons", "enable", name, "--profile", self._profile]
        try:
            for line in stream([str(word) for word in words], env=self._environment()):
                yield Log(STAGE, name, line)
        except CommandFailed as failed:
            hints = ("minikube addons list", "todo-deploy up")
            title = f"Minikube could not enable the addon {name}"
            raise machine_error("ADDON_MINIKUBE", title, detail=failed.output, hints=hints) from None

    def remove_folder(self, path: str) -> None:
        """The folder of the node is gone with everything in it."""
        words = ["--profile", self._profile, "ssh", "--", "sudo", "rm", "-rf", path]
        try:
            run([self._toolchain.minikube, *words], env=self._environment())
        except CommandFailed as failed:
            raise machine_error(
                "FOLDER_KEPT",
                f"the node's folder {path} cannot be removed",
                detail=failed.output,
                hints=(f"minikube ssh --profile {self._profile} -- sudo rm -r {path}",),
            ) from None

    def restore_context(self) -> bool:
        """The user's current context is what it was before a start that was killed; whether it had to be changed."""
        return restore_current_context(self._kubeconfig, self._note, self._profile)

    def _current_context_kept(self) -> AbstractContextManager[None]:
        """The user's current context is what it was before.

        A start that finds its own entry missing, as after `minikube stop`, makes itself the current one in spite of
        `--keep-context` (bootstrapper/kubeadm: restartPrimaryControlPlane, kubeconfig.UpdateEndpoint).
        """
        return current_context_kept(self._kubeconfig, self._note, self._profile)

    def _moved_from(self, servers: Collection[str]) -> str:
        """What the kubeconfig has for the profile's API server, where it is none of these.

        After a start that was killed it is an old address, which another profile may have been given since: its
        server would take the same certificates.
        """
        known = server_of(read(self._kubeconfig), self._profile)
        return known if known and urlsplit(known).netloc not in servers else ""

    def _refuse_version(self, request: StartRequest) -> None:
        """A version that neither is built here nor can be pulled is refused before Minikube looks for it in vain."""
        made, wanted = self._toolchain.kubernetes_version, request.kubernetes_version
        if self._toolchain.offline_images and wanted != made:
            raise refused(
                "CLUSTER_VERSION",
                f"Kubernetes {wanted} cannot be had on this machine",
                detail=f"no container registry can be reached, and what is built from source is {made}",
                hints=(f"set `cluster.kubernetesVersion: {made}`, or leave it out",),
            )

    def _config(self) -> Mapping[str, Any] | None:
        path = self._home / "profiles" / self._profile / "config.json"
        try:
            return fitted(_CONFIG, read_json(path, dict[str, Any]))
        except (FileNotFoundError, NotADirectoryError, Malformed):
            return None
        except PermissionError:
            raise self._foreign(f"{path} cannot be read by this user") from None

    def _node(self, name: str = "") -> Mapping[str, Any] | None:
        """The node's container as the host's Docker shows it; None where there is none."""
        found = self._containers.inspect(name or self._profile)
        return fitted(_CONTAINER, dict(found)) if found is not None else None

    def _refuse_strange_node(self) -> None:
        """A node of the profile's name that this user's Minikube does not know is not started over."""
        container = None
        with suppress(DeployError):  # no Docker, no node: what needs one says so
            container = self._node()
        labels = (container or {}).get("Config", {}).get("Labels", {})
        if _MADE_BY in labels:
            raise self._foreign(f"its node is there as a container, and {self._home} does not know the profile")

    def _refuse_node_of_another_user(self, container: str) -> None:
        """The node lets in the SSH key of this user's profile; one that lets in nobody yet was not started to the end.

        Minikube makes the key with the profile and copies it into the node (pkg/drivers/kic: prepareSSH).
        """
        # A container never changes hands, so what was shown once is remembered: looking costs a tenth of a second.
        proof, shown = self._note.with_suffix(".node"), f"{container} {self._home}"
        with suppress(OSError, UnicodeDecodeError):
            if container and proof.read_text(encoding="utf-8") == shown:
                return
        let_in = [
            line.split()[:2]
            for line in (self._containers.read_file(self._profile, _AUTHORIZED_KEYS) or "").splitlines()
        ]
        own: list[str] = []
        with suppress(OSError):
            path = self._home / "machines" / self._profile / "id_rsa.pub"
            own = path.read_text(encoding="utf-8", errors="replace").split()[:2]
        if let_in and own not in let_in:
            raise self._foreign(f"its node does not let in the SSH key of the profile in {self._home}")
        if let_in:
            with suppress(OSError):
                write_private(proof, shown)

    def _foreign(self, why: str) -> DeployError:
        return refused(
            "PROFILE_FOREIGN",
            f"the Minikube profile `{self._profile}` is another user's",
            detail=why,
            hints=(
                "give `cluster.name` another name in todo-deploy.local.yaml",
                f"docker rm --force {self._profile}, if it is yours and can go",
            ),
        )

    def _asked(self, known: Mapping[str, Any]) -> ClusterFacts:
        """Drivers without a container of ours are asked through Minikube itself."""
        base = [str(self._toolchain.minikube), "--profile", self._profile]
        try:
            output = run([*base, "status", "--output", "json"], env=self._environment())
            status = shaped(_Status, parse_json(output))
            if status.Host != "Running" or status.APIServer != "Running":
                return ClusterFacts(ClusterPhase.STOPPED, detail=output.strip(), **known)
            address = run([*base, "ip"], env=self._environment()).strip()
            words = [*base, "docker-env", "--shell", "none", "--output", "json"]
            daemon = shaped(_Daemon, parse_json(run(words, env=self._environment())))
        except (CommandFailed, Malformed):
            return ClusterFacts(ClusterPhase.STOPPED, **known)
        endpoint = DockerEndpoint(daemon.DOCKER_HOST, Path(daemon.DOCKER_CERT_PATH))
        return ClusterFacts(ClusterPhase.RUNNING, node_ip=address or None, docker=endpoint, **known)

    def _environment(self) -> dict[str, str]:
        """The user's environment; node and service addresses are never asked through a proxy."""
        direct = no_proxy(self._env, None)
        home = {"MINIKUBE_IN_STYLE": "false", "NO_PROXY": direct, "no_proxy": direct}
        path = f"{self._toolchain.docker.parent}{os.pathsep}{self._env.get('PATH', os.defpath)}"
        return {**self._env, **home, "PATH": path}


def _runtime(config: Mapping[str, Any]) -> str:
    return str((config.get("KubernetesConfig") or {}).get("ContainerRuntime") or "docker")


def _network(attached: Mapping[str, Any]) -> str | None:
    """The Docker network that the node is attached to."""
    address, prefix = attached.get("IPAddress"), attached.get("IPPrefixLen")
    with suppress(ValueError):
        return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False)) if address and prefix else None
    return None


def _published(network: Mapping[str, Any], port: str) -> str:
    """The port of this machine that leads to the container's; empty where none does."""
    found = network.get("Ports", {}).get(port)
    return str(found[0].get("HostPort") or "") if found else ""


@dataclass(frozen=True, slots=True)
class _CloudEvent:
    type: str
    data: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Status:
    Host: str = ""  # Minikube's own names, here and below
    APIServer: str = ""


@dataclass(frozen=True, slots=True)
class _Daemon:
    DOCKER_HOST: str
    DOCKER_CERT_PATH: str


def _parsed(line: str) -> tuple[str, Mapping[str, Any]] | None:
    """A CloudEvent's kind and data (`minikube start -o json` prints one a line)."""
    try:
        event = shaped(_CloudEvent, parse_json(line))
    except Malformed:
        return None
    return (event.type.removeprefix(_EVENT), event.data or {}) if event.type.startswith(_EVENT) else None


def _events(profile: str, kind: str, data: Mapping[str, Any]) -> Generator[Event, None, None]:
    message = " ".join(str(data.get("message", "")).split())
    if kind == "step":
        # The total counts steps that exclude each other, so it is a hint and no percentage.
        yield Item(STAGE, profile, ItemState.RUNNING, str(data.get("name") or message))
    elif kind == "download.progress":
        yield Item(STAGE, profile, ItemState.RUNNING, f"downloading {data.get('artifact', '')}")
    elif message:  # Minikube warns of what was chosen for good reasons: its own runtime, --force, kubectl on PATH
        yield Log(STAGE, profile, message)


def _readable(tail: tuple[str, ...]) -> list[str]:
    shown = []
    for line in tail[-12:]:
        event = _parsed(line)
        shown.append(line if event is None else str(event[1].get("message", "")).strip())
    return shown
