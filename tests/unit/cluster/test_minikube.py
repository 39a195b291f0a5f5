"""What a Minikube profile is, by its files and its node's container alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.cluster import minikube as module
from deployer.cluster.minikube import Minikube, NodeContainers
from deployer.core.errors import DeployError, ExitCode, machine_error
from deployer.core.ports import DockerEndpoint, StartRequest
from deployer.core.process import CommandFailed
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain

PROFILE = "c"
CONFIG = {
    "Driver": "docker",
    "CPUs": 2,
    "Memory": 4096,
    "APIServerPort": 8443,
    "KubernetesConfig": {"KubernetesVersion": "v1.37.2"},
}


def container(api: str = "32773", daemon: str = "32771") -> dict[str, Any]:
    ports = {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": api}], "2376/tcp": [{"HostPort": daemon}]}
    networks = {PROFILE: {"IPAddress": "192.168.49.2", "IPPrefixLen": 24, "Gateway": "192.168.49.1"}}
    return {"State": {"Running": True}, "NetworkSettings": {"Ports": ports, "Networks": networks}}


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    document = {
        "clusters": [{"name": PROFILE, "cluster": {"server": server}}],
        "contexts": [{"name": PROFILE, "context": {"cluster": PROFILE, "user": PROFILE}}],
    }
    path.write_text(json.dumps(document))
    return path


def minikube(folder: Path, found: Mapping[str, Any] | None, config: Path, keys: str | None = None) -> Minikube:
    profile = folder / ".minikube" / "profiles" / PROFILE
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "config.json").write_text(json.dumps(CONFIG))
    nowhere = Path("nowhere")
    toolchain = Toolchain("path", "", nowhere, nowhere, nowhere, nowhere, nowhere, {}, "v1.37.2", None, None, False)
    return Minikube(
        toolchain,
        PROFILE,
        {"MINIKUBE_HOME": str(folder)},
        NodeContainers(lambda name: found, lambda *_: keys),
        config,
        folder / "note.json",
    )


@pytest.mark.parametrize(
    ("server", "moved"),
    [
        ("https://192.168.49.2:8443", False),  # as Minikube writes it on Linux
        ("https://127.0.0.1:32773", False),  # and where the node's address cannot be reached
        ("https://127.0.0.1:32768", True),
        ("https://192.168.58.2:8443", True),
    ],
)
def test_an_api_server_that_is_elsewhere_by_now_is_seen(tmp_path: Path, server: str, moved: bool) -> None:
    facts = minikube(tmp_path, container(), kubeconfig(tmp_path, server)).facts()
    assert facts.phase is ClusterPhase.RUNNING
    assert facts.moved_from == (server if moved else "")
    assert facts.docker is not None
    assert facts.docker.host == "tcp://127.0.0.1:32771"


def test_a_kubeconfig_that_does_not_know_the_profile_is_no_move(tmp_path: Path) -> None:
    assert minikube(tmp_path, container(), tmp_path / "absent").facts().moved_from == ""


def test_a_container_without_an_address_yet_is_no_move(tmp_path: Path) -> None:
    found = {"State": {"Running": True}, "NetworkSettings": {"Ports": {}, "Networks": {}}}
    facts = minikube(tmp_path, found, kubeconfig(tmp_path, "https://192.168.49.2:8443")).facts()
    assert (facts.phase, facts.moved_from, facts.docker) == (ClusterPhase.RUNNING, "", None)


def test_a_node_that_this_users_minikube_does_not_know_is_not_started_over(tmp_path: Path) -> None:
    """Another user of the same Docker has made it, or it is all that is left of a Minikube home."""
    labels = {"created_by.minikube.sigs.k8s.io": "true"}
    made = minikube(tmp_path, {**container(), "Config": {"Labels": labels}}, tmp_path / "absent")
    (tmp_path / ".minikube" / "profiles" / PROFILE / "config.json").unlink()
    with pytest.raises(DeployError) as caught:
        made.facts()
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("PROFILE_FOREIGN", ExitCode.REFUSED)


@pytest.mark.parametrize("found", [None, {"Config": {"Labels": {"some": "container"}}}, {"Config": {"Labels": None}}])
def test_without_a_node_of_minikubes_there_is_no_cluster_yet(tmp_path: Path, found: Any) -> None:
    made = minikube(tmp_path, found, tmp_path / "absent")
    (tmp_path / ".minikube" / "profiles" / PROFILE / "config.json").unlink()
    assert made.facts().phase is ClusterPhase.MISSING


def test_a_profile_that_this_user_may_not_read_is_another_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = minikube(tmp_path, container(), tmp_path / "absent")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DeployError) as caught:
        made.facts()
    assert caught.value.problems[0].code == "PROFILE_FOREIGN"


def test_a_context_of_somebody_elses_is_not_written_over(tmp_path: Path) -> None:
    """It has the profile's name and leads to a cluster without Minikube's mark."""
    made = minikube(tmp_path, container(), kubeconfig(tmp_path, "https://10.0.0.1:6443"))
    before = (tmp_path / "kubeconfig").read_text()
    request = StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.37.2")
    for act in (made.write_context, lambda: list(made.start(request))):
        with pytest.raises(DeployError) as caught:
            act()
        assert (caught.value.problems[0].code, caught.value.exit_code) == ("CONTEXT_FOREIGN", ExitCode.REFUSED)
    assert (tmp_path / "kubeconfig").read_text() == before


@pytest.mark.parametrize(
    ("let_in", "own", "foreign"),
    [
        ("ssh-rsa AAAA1 root@c\n", "ssh-rsa AAAA1\n", False),
        ("ssh-rsa AAAA1\nssh-rsa AAAA2\n", "ssh-rsa AAAA2 me", False),
        (None, "ssh-rsa AAAA1\n", False),  # its start was cut short before Minikube copied the key
        ("ssh-rsa AAAA1\n", "ssh-rsa AAAA2\n", True),
        ("ssh-rsa AAAA1\n", None, True),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_a_node_that_does_not_let_in_the_profiles_key_is_another_users(
    tmp_path: Path, let_in: str | None, own: str | None, foreign: bool, running: bool
) -> None:
    """Both know a profile of this name; the container is of one of them."""
    made = minikube(tmp_path, {**container(), "State": {"Running": running}}, tmp_path / "absent", let_in)
    if own is not None:
        machine = tmp_path / ".minikube" / "machines" / PROFILE
        machine.mkdir(parents=True)
        (machine / "id_rsa.pub").write_text(own)
    if not foreign:
        assert made.facts().phase is (ClusterPhase.RUNNING if running else ClusterPhase.STOPPED)
        return
    for act in (made.facts, lambda: list(made.delete())):
        with pytest.raises(DeployError) as caught:
            act()
        assert (caught.value.problems[0].code, caught.value.exit_code) == ("PROFILE_FOREIGN", ExitCode.REFUSED)


def test_a_cluster_that_minikube_cannot_delete_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = minikube(tmp_path, container(), tmp_path / "absent")

    def fails(*_: object, **__: object) -> Iterator[str]:
        yield "* Deleting"
        raise CommandFailed(["minikube", "delete"], 1, ("X Exiting due to GUEST_DELETE: device or resource busy",))

    monkeypatch.setattr(module, "stream", fails)
    with pytest.raises(DeployError) as caught:
        list(made.delete())
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("CLUSTER_DELETE", ExitCode.MACHINE)
    assert "device or resource busy" in problem.detail and problem.hints


@pytest.mark.parametrize(
    "found",
    [{}, {"State": 3}, {"State": {"Running": True}, "NetworkSettings": []},
     {"State": {"Running": True}, "NetworkSettings": {"Ports": {"2376/tcp": ["x"]}, "Networks": {PROFILE: 1}}},
     {"State": {"Running": True}, "NetworkSettings": {"Networks": {PROFILE: {"IPAddress": "x", "IPPrefixLen": 24}}}}],
)  # fmt: skip
def test_a_container_that_docker_shows_in_part_has_a_phase(tmp_path: Path, found: dict[str, Any]) -> None:
    facts = minikube(tmp_path, found, tmp_path / "absent").facts()
    assert (facts.docker, facts.node_network) == (None, None)


@pytest.mark.parametrize("config", [b"[]", b"{", b"\xff", b'{"CPUs": "x", "Driver": 3, "KubernetesConfig": []}'])
def test_a_damaged_profile_is_no_bug(tmp_path: Path, config: bytes) -> None:
    made = minikube(tmp_path, None, tmp_path / "absent")
    (tmp_path / ".minikube" / "profiles" / PROFILE / "config.json").write_bytes(config)
    with suppress(FileNotFoundError):  # a driver that is not docker is asked through Minikube, which is not here
        assert made.facts().phase is ClusterPhase.MISSING


def test_whose_node_it_is_is_looked_up_once_for_each_container(tmp_path: Path) -> None:
    machine = tmp_path / ".minikube" / "machines" / PROFILE
    machine.mkdir(parents=True)
    (machine / "id_rsa.pub").write_text("ssh-rsa AAAA1\n")

    def phase(node: str, let_in: str) -> ClusterPhase:
        return minikube(tmp_path, {**container(), "Id": node}, tmp_path / "absent", let_in).facts().phase

    assert phase("one", "ssh-rsa AAAA1\n") is ClusterPhase.RUNNING
    # The same container, which is not looked into again; and another one, which is.
    assert phase("one", "ssh-rsa B\n") is ClusterPhase.RUNNING
    with pytest.raises(DeployError):
        phase("another", "ssh-rsa B\n")


class Several:
    """A profile for several nodes on a host whose Docker notes what it is asked to do."""

    def __init__(self, folder: Path, containers: Mapping[str, Any], names: Sequence[str], offline: bool = True) -> None:
        self.loaded: list[str] = []
        self.volumes: dict[str, str] = {}
        self.busy = ""
        self._daemons = {one["NetworkSettings"]["Ports"]["2376/tcp"][0]["HostPort"]: name
                         for name, one in containers.items()}  # fmt: skip
        made = minikube(folder, None, folder / "absent")
        made._containers = NodeContainers(
            containers.get, lambda *_: None, self.load,
            lambda name, labels: self.volumes.update({name: labels["name.minikube.sigs.k8s.io"]}),
            lambda name: void(self.volumes.pop(name)),
        )  # fmt: skip
        made._toolchain = replace(made._toolchain, offline_images=offline)
        self.minikube, self.profile = made, folder / ".minikube" / "profiles" / PROFILE / "config.json"
        self.write(names)

    def write(self, names: Sequence[str]) -> None:
        config = {**CONFIG, "MultiNodeRequested": True, "Nodes": [{"Name": name} for name in names]}
        self.profile.write_text(json.dumps(config))

    def load(self, node: DockerEndpoint, refs: Sequence[str]) -> Sequence[str]:
        name = self._daemons[node.host.rpartition(":")[2]]
        if name == self.busy:
            self.busy = ""
            raise machine_error("DOCKER_UNREACHABLE", "it is just being restarted")
        self.loaded.append(name)
        return refs


def void(_: object) -> None:
    """Nothing of it is needed."""


def step(name: str) -> str:
    return json.dumps({"type": "io.k8s.sigs.minikube.step", "data": {"name": name, "message": name}})


def test_all_nodes_of_a_profile_are_known_and_whether_they_run(tmp_path: Path) -> None:
    stopped = {**container(daemon="3"), "State": {"Running": False}}
    containers = {"c": container(daemon="1"), "c-m02": container(daemon="2"), "c-m03": stopped}
    nodes = Several(tmp_path, containers, ["", "m02", "m03", "m04"]).minikube.facts().nodes
    assert [(one.name, one.running) for one in nodes] == [
        ("c", True),
        ("c-m02", True),
        ("c-m03", False),
        ("c-m04", False),
    ]
    assert [one.docker and one.docker.host for one in nodes] == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2", None, None]


@pytest.mark.parametrize("offline", [True, False])
def test_a_profile_of_several_nodes_is_made_with_their_images_and_volumes_that_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    """Minikube brings images to the first node only, and a daemon that it configures answers nobody for a moment."""
    here = Several(tmp_path, {"c": container(daemon="1"), "c-m02": container(daemon="2")}, [""], offline)
    here.busy, asked = "c-m02", list[str]()
    here.profile.unlink()

    def starts(words: Sequence[str], **_: object) -> Iterator[str]:
        asked.extend(words)
        here.write([""])
        yield step("Preparing Kubernetes")
        yield step("Verifying Kubernetes")
        here.write(["", "m02"])
        yield step("Starting Node")

    monkeypatch.setattr(module, "stream", starts)
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(here.minikube.start(StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.37.2", 2)))
    assert asked[asked.index("--nodes") + 1] == "2"
    assert asked[asked.index("--mount-string") + 1] == "c-volumes:/var/hostpath-provisioner"
    assert here.volumes == {"c-volumes": "c-m02"}
    assert here.loaded == (["c", "c-m02"] if offline else [])
    list(here.minikube.delete())
    assert here.volumes == {}


@pytest.mark.parametrize(("version", "without"), [("v1.35.4", False), ("v1.36.0", True), ("v1.37.2", True)])
def test_exec_goes_by_the_api_server_where_the_kubelet_cannot_ask_cri_dockerd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, without: bool
) -> None:
    made = minikube(tmp_path, container(), tmp_path / "absent")
    asked: list[str] = []
    monkeypatch.setattr(module, "stream", lambda words, **_: iter(asked.extend(words) or ()))
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(made.start(StartRequest(PROFILE, "docker", 2, 2048, "20g", version)))
    assert ("ExtendWebSocketsToKubelet=false" in asked) is without


def test_a_version_that_is_neither_pulled_nor_built_is_refused_before_minikube_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = minikube(tmp_path, container(), tmp_path / "absent")
    made._toolchain = replace(made._toolchain, offline_images=True)
    monkeypatch.setattr(module, "stream", lambda *_, **__: iter(()))
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    other = StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.30.0")
    list(made.start(other))  # what exists is started with the version that it has
    (tmp_path / ".minikube" / "profiles" / PROFILE / "config.json").unlink()
    with pytest.raises(DeployError) as caught:
        list(made.start(other))
    assert (caught.value.problems[0].code, caught.value.exit_code) == ("CLUSTER_VERSION", ExitCode.REFUSED)


@pytest.mark.parametrize(
    ("kubelet", "profile", "emptied"),
    [
        (None, True, [(PROFILE, "tmp/minikube/kubeadm.yaml")]),  # as after `docker system prune` of a stopped profile
        ("apiVersion: v1\n", True, []),
        (None, False, []),
    ],
)
def test_a_node_whose_container_was_lost_is_configured_anew_over_its_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kubelet: str | None, profile: bool, emptied: list[tuple[str, str]]
) -> None:
    made = minikube(tmp_path, None, tmp_path / "absent")
    if not profile:
        (tmp_path / ".minikube" / "profiles" / PROFILE / "config.json").unlink()
    seen: list[tuple[str, str]] = []
    made._containers = NodeContainers(
        lambda name: None, lambda *_: kubelet, empty_file=lambda *which: seen.append(which)
    )
    monkeypatch.setattr(module, "stream", lambda *_, **__: iter(()))
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(made.start(StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.37.2")))
    assert seen == emptied


@pytest.mark.parametrize(("after", "asked"), [("renewed", True), ("old", False)])
def test_who_shows_a_certificate_that_was_renewed_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, asked: bool
) -> None:
    made = minikube(tmp_path, container(), tmp_path / "absent")
    files = {"/etc/kubernetes/scheduler.conf": "old", "/etc/kubernetes/kubelet.conf": "any"}
    made._containers = NodeContainers(lambda name: container(), lambda node, path: files.get(path))

    def started(*_: object, **__: object) -> Iterator[str]:
        files["/etc/kubernetes/scheduler.conf"] = after
        return iter([step("Preparing Kubernetes"), step("Verifying Kubernetes")])

    ran: list[list[object]] = []
    monkeypatch.setattr(module, "stream", started)
    monkeypatch.setattr(module, "run", lambda words, **_: ran.append(words))
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(made.start(StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.37.2")))
    kubelet, *rest = ran
    assert "kubelet-client-current.pem" in str(kubelet[-1])
    assert [words[-3:] for words in rest] == ([["sudo", "pkill", "kube-[sc]"]] if asked else [])


def test_a_profile_that_exists_keeps_its_nodes_and_volumes_when_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Several(tmp_path, {"c": container(), "c-m02": container()}, ["", "m02"])
    asked: list[str] = []
    monkeypatch.setattr(module, "stream", lambda words, **_: iter(asked.extend(words) or ()))
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(here.minikube.start(StartRequest(PROFILE, "docker", 2, 2048, "20g", "v1.37.2", 3)))
    assert not {"--nodes", "--mount-string"} & set(asked)
    assert here.volumes == {}


def test_one_node_is_started_or_added_by_the_name_that_minikube_has_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Several(tmp_path, {"c": container(daemon="1"), "c-m02": container(daemon="2")}, ["", "m02"])
    asked: list[Sequence[str]] = []

    def does(words: Sequence[str], **_: object) -> Iterator[str]:
        asked.append(words[1:])
        yield "* done"
        if words[2] == "add":
            raise CommandFailed(list(words), 1, ("X Exiting due to GUEST_NODE_ADD: no room",))

    monkeypatch.setattr(module, "stream", does)
    monkeypatch.setattr(module, "seed_minikube", lambda *_: False)
    list(here.minikube.start_node("c-m02"))
    assert (asked, here.loaded) == ([["node", "start", "m02", "--profile", "c"]], ["c", "c-m02"])
    with pytest.raises(DeployError) as caught:
        list(here.minikube.add_node())
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("NODE_START", ExitCode.MACHINE)
    assert "no room" in problem.detail and problem.hints
