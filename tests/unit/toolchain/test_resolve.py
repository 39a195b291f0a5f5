"""Which way is taken, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item, ItemState
from deployer.core.files import open_lock, take_lock
from deployer.toolchain import download, locate, resolve
from deployer.toolchain.files import bundled_folder, bundled_note, pins_key, write_json
from deployer.toolchain.locate import locate_toolchain
from deployer.toolchain.model import Reach, Setting, Toolchain
from deployer.toolchain.pins import HELM, KUBERNETES, MINIKUBE
from deployer.toolchain.source import debian, images, node
from tests.unit.toolchain.support import finish, nothing, program

ALL = Reach(downloads=True, registries=True, packages=True)
PACKAGES = Reach(downloads=False, registries=False, packages=True)
NOTHING = Reach(downloads=False, registries=False, packages=False)


class Machine:
    """A machine with a PATH of its own; downloads and builds make files without looking anywhere."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.cache, self.patch = folder, folder / "cache", monkeypatch
        self.reach = ALL
        self.probed = 0
        self.imaged = 0
        self.fetched: list[str] = []
        self.docker = program(folder / "host", "docker", "exit 0")
        self.env = {"PATH": str(folder / "path"), "HOME": str(folder)}
        monkeypatch.setattr(resolve, "probe", self._probe)
        monkeypatch.setattr(download, "ensure_downloaded", self._download)
        monkeypatch.setattr(resolve, "built", self._built)
        monkeypatch.setattr(node, "built", self._built)
        monkeypatch.setattr(resolve, "ensure_base", nothing)
        monkeypatch.setattr(node, "ensure_systems", nothing)
        monkeypatch.setattr(node, "ensure_cluster_images", self._images)
        monkeypatch.setattr(resolve, "operating_system", lambda: "linux")

    def has(self, **versions: str) -> None:
        for name, version in versions.items():
            program(self.folder / "path", name, f'echo \'{{"gitVersion": "{version}"}}\'')

    def ensure(self, setting: Setting = "auto") -> Toolchain:
        self.events: list[Event] = []
        return finish(resolve.ensure_toolchain(setting, self.cache, self.env, self.docker), self.events)

    def _probe(self) -> Reach:
        self.probed += 1
        return self.reach

    def _download(self, _: Path, item: object) -> object:
        self.fetched.append(item.name)  # type: ignore[attr-defined]
        path = program(self.folder / "downloaded", item.name, "exit 0")  # type: ignore[attr-defined]

        def steps() -> object:
            return path
            yield

        return steps()

    def _built(self, _: Path, build: object) -> Path:
        folder = self.folder / "built" / f"{build.name}-0123456789ab"  # type: ignore[attr-defined]
        for name in ("minikube", "helm", "kubectl", "kubeadm", "kubelet"):
            if not (folder / name).exists():
                program(folder, name, "exit 0")
        return folder

    def _images(self, *_: object) -> object:
        self.imaged += 1
        return nothing()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_on_path_and_new_enough_is_used(machine: Machine) -> None:
    machine.has(minikube="v1.36.0", helm="v3.14.0", kubectl="v1.36.9")
    found = machine.ensure()
    assert found.way == "path"
    assert found.minikube == machine.folder / "path/minikube"
    assert dict(found.versions) == {"minikube": "v1.36.0", "helm": "v3.14.0", "kubectl": "v1.36.9"}
    assert (found.node_image, found.kubernetes_binaries, found.offline_images) == (None, None, False)
    assert (found.bin / "helm").resolve() == found.helm


def test_what_is_missing_or_old_is_downloaded_and_the_rest_kept(machine: Machine) -> None:
    machine.has(helm="v3.13.0", kubectl="v1.37.0")
    found = machine.ensure()
    assert found.way == "download"
    assert machine.fetched == ["minikube", "helm"]
    assert found.kubectl == machine.folder / "path/kubectl"
    assert found.versions["helm"] == HELM
    assert "helm v3.13.0 is not at least 3.14 and below 5.0" in found.why


@pytest.mark.parametrize("version", ["v3.14.0", "v4.0.0", "v4.3.2"])
def test_a_helm_on_path_is_used_also_where_the_rest_is_built(machine: Machine, version: str) -> None:
    machine.has(helm=version, minikube="v1.38.1")
    machine.reach = PACKAGES
    for _ in range(2):
        found = machine.ensure()
        assert (found.way, found.helm, found.versions["helm"]) == ("source", machine.folder / "path/helm", version)
    assert found.minikube.parent.name.startswith("minikube-")


def test_a_chosen_helm_takes_the_place_of_the_toolchains_own_for_that_run(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has(minikube="v1.36.0", helm="v4.3.2", kubectl="v1.36.9")
    chosen = program(machine.folder / "other", "helm3", "echo v3.14.0")
    kept = machine.ensure()
    monkeypatch.setitem(machine.env, "TODO_DEPLOY_HELM", str(chosen))
    assert (machine.ensure().helm, machine.ensure().versions["helm"]) == (chosen, "v3.14.0")
    monkeypatch.setenv("TODO_DEPLOY_HELM", str(chosen))
    assert getattr(locate_toolchain("auto", machine.cache), "helm", None) == chosen
    monkeypatch.delenv("TODO_DEPLOY_HELM")
    assert getattr(locate_toolchain("auto", machine.cache), "helm", None) == kept.helm
    for unfit in (program(machine.folder / "old", "helm", "echo v3.13.1"), machine.folder / "none"):
        machine.env["TODO_DEPLOY_HELM"] = str(unfit)
        with pytest.raises(DeployError) as caught:
            machine.ensure()
        assert caught.value.problems[0].code == "TOOLCHAIN_HELM"


def test_without_registries_all_is_built_even_when_programs_are_there(machine: Machine) -> None:
    machine.has(minikube="v1.38.1", helm="v3.22.0", kubectl="v1.37.2")
    machine.reach = PACKAGES
    found = machine.ensure()
    assert (found.way, found.offline_images, machine.imaged) == ("source", True, 1)
    assert found.minikube.parent.name.startswith("minikube-")
    assert found.kubernetes_binaries is not None
    assert found.node_image is not None and found.node_image.startswith(f"todo-deploy.local/node:{KUBERNETES}-")
    assert "container registries cannot" in found.why


def test_registries_without_download_sites_build_the_programs_only(machine: Machine) -> None:
    machine.reach = Reach(downloads=False, registries=True, packages=True)
    machine.patch.setattr(resolve, "ensure_go", nothing)
    found = machine.ensure()
    assert (found.way, found.offline_images, machine.imaged) == ("source", False, 0)


def test_a_laptop_without_network_uses_what_it_has(machine: Machine) -> None:
    machine.has(minikube="v1.38.1", helm="v3.22.0", kubectl="v1.37.2")
    machine.reach = NOTHING
    found = machine.ensure()
    assert found.way == "path"
    assert "nothing can be reached" in found.why


def test_nothing_there_and_nothing_reached_is_an_error(machine: Machine) -> None:
    machine.reach = NOTHING
    with pytest.raises(DeployError) as caught:
        machine.ensure()
    assert caught.value.problems[0].code == "TOOLCHAIN_UNREACHABLE"


def test_the_setting_path_downloads_nothing(machine: Machine) -> None:
    machine.has(minikube="v1.20.0", helm="v3.15.0")
    with pytest.raises(DeployError) as caught:
        machine.ensure("path")
    problem = caught.value.problems[0]
    assert problem.code == "TOOLCHAIN_PATH"
    assert problem.detail == "minikube v1.20.0 is older than 1.35; kubectl is not on PATH"
    assert (machine.fetched, machine.probed) == ([], 0)


def test_the_setting_download_ignores_path(machine: Machine) -> None:
    machine.has(minikube="v1.36.0", helm="v3.14.0", kubectl="v1.36.9")
    assert machine.ensure("download").way == "download"
    assert machine.fetched == ["minikube", "helm", "kubectl"]
    assert machine.probed == 0


def test_the_setting_source_asks_nobody(machine: Machine) -> None:
    found = machine.ensure("source")
    assert (found.way, found.offline_images, machine.probed) == ("source", True, 0)


def test_a_way_once_found_is_kept_and_images_are_looked_at_again(machine: Machine) -> None:
    machine.reach = PACKAGES
    first = machine.ensure()
    assert locate_toolchain("auto", machine.cache) == first
    machine.reach = ALL
    assert machine.ensure() == first
    assert (machine.probed, machine.imaged) == (1, 2)
    assert [event.state for event in machine.events if isinstance(event, Item)] == [ItemState.UNCHANGED]


def test_a_removed_program_is_looked_for_again(machine: Machine) -> None:
    machine.has(minikube="v1.36.0", helm="v3.14.0", kubectl="v1.36.9")
    machine.ensure()
    (machine.folder / "path/helm").unlink()
    assert machine.ensure().way == "download"
    assert machine.fetched == ["helm"]


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("minikube", (1, 35), True),
        ("minikube", (1, 34), False),
        ("helm", (3, 13), False),
        ("helm", (3, 14), True),
        ("helm", (3, 13), False),
        ("helm", (4, 3), True),
        ("helm", (5, 0), False),
        ("kubectl", (1, 36), True),
        ("kubectl", (1, 38), True),
        ("kubectl", (1, 39), False),
        ("kubectl", (1, 35), False),
    ],
)
def test_versions_that_fit(name: str, version: tuple[int, int], fits: bool) -> None:
    assert (locate.unfit(name, version) == "") is fits


@pytest.mark.parametrize("script", ["exit 1", "echo hello"])
def test_a_program_that_does_not_print_its_version_is_unfit(tmp_path: Path, script: str) -> None:
    program(tmp_path, "helm", script)
    found = locate.look("helm", {"PATH": f"{tmp_path}:/bin"})
    assert found is not None and "does not print its version" in found.unfit


def test_a_check_that_never_ends_is_a_no() -> None:
    import threading

    never = threading.Event()
    answers = locate.ask({("a", "1"): lambda: True, ("a", "2"): lambda: never.wait(5)}, 0.2)
    never.set()
    assert answers == {("a", "1"): True, ("a", "2"): False}


def test_what_is_reached_is_said_in_words() -> None:
    assert PACKAGES.in_words() == "package registries can be reached, download sites and container registries cannot"
    assert NOTHING.in_words() == "nothing can be reached"


def test_minikubes_cache_is_filled_once(machine: Machine) -> None:
    built = machine.ensure("source")
    env = {"MINIKUBE_HOME": str(machine.folder / "home")}
    assert node.seed_minikube(built, env) is True
    assert node.seed_minikube(built, env) is False
    folder = machine.folder / "home/.minikube/cache/linux" / node.architecture() / KUBERNETES
    assert sorted(path.name for path in folder.iterdir()) == ["kubeadm", "kubectl", "kubelet"]
    (folder / "kubelet").write_text("damaged")
    assert node.seed_minikube(built, env) is True
    assert (folder / "kubelet").stat().st_mode & 0o111


def test_the_pins_are_full_versions() -> None:
    assert all(version.count(".") == 2 for version in (MINIKUBE, HELM, KUBERNETES))


def note(machine: Machine, way: str, *names: str) -> None:
    """A bundle was loaded on the machine, whose toolchain had come about this way, with these programs."""
    document = {"way": way, "key": pins_key(), "versions": {"minikube": "v1.38.1", "helm": "v3.22.0"}, "labels": {}}
    write_json(bundled_note(machine.cache), document)
    for name in names:
        program(machine.cache / bundled_folder(pins_key()), name, "exit 0")


@pytest.mark.parametrize("setting", ["auto", "source"])
def test_a_bundle_that_was_built_needs_no_network(machine: Machine, setting: Setting) -> None:
    machine.reach = NOTHING
    note(machine, "source")
    found = machine.ensure(setting)
    assert (found.way, found.why, found.offline_images) == ("source", "from a bundle", True)
    assert (machine.probed, machine.fetched) == (0, [])
    assert locate_toolchain(setting, machine.cache) == found


def test_the_helm_of_a_bundle_is_kept(machine: Machine) -> None:
    note(machine, "source", "helm")
    for _ in range(2):
        assert machine.ensure().helm == machine.cache / bundled_folder(pins_key()) / "helm"


def test_programs_of_a_bundle_are_used_where_they_were_downloaded(machine: Machine) -> None:
    machine.reach = NOTHING
    note(machine, "download", "minikube", "helm", "kubectl")
    found = machine.ensure()
    assert (found.way, found.why, machine.probed) == ("download", "from a bundle", 0)
    assert found.kubectl == machine.cache / bundled_folder(pins_key()) / "kubectl"


def test_a_bundle_of_other_pins_or_without_its_programs_is_none(machine: Machine) -> None:
    note(machine, "download", "minikube", "helm")
    assert machine.ensure().why != "from a bundle"
    write_json(bundled_note(machine.cache), {"way": "source", "key": "of an earlier version"})
    (machine.cache / "toolchain/toolchain-auto.json").unlink()
    assert machine.ensure().why != "from a bundle"


@pytest.mark.parametrize("reach", [ALL, PACKAGES])
def test_a_complete_toolchain_does_not_wait_for_what_another_run_makes(machine: Machine, reach: Reach) -> None:
    machine.reach = reach
    first = machine.ensure()
    machine.patch.setattr(images, "is_current", lambda *_: True)
    machine.patch.setattr(debian, "is_current", lambda *_: True)
    with open_lock(machine.cache / "toolchain" / "lock") as another:
        assert take_lock(another)
        steps = resolve.ensure_toolchain("auto", machine.cache, machine.env, machine.docker)
        event = next(steps)
        assert isinstance(event, Item) and event.state is ItemState.UNCHANGED
        assert finish(steps) == first
    assert machine.imaged == (reach is PACKAGES)


def test_a_toolchain_that_lacks_an_image_waits_for_the_run_that_may_make_it(machine: Machine) -> None:
    machine.reach = PACKAGES
    machine.ensure()
    with open_lock(machine.cache / "toolchain" / "lock") as another:
        assert take_lock(another)
        steps = resolve.ensure_toolchain("auto", machine.cache, machine.env, machine.docker)
        event = next(steps)
        assert isinstance(event, Item) and (event.item, event.state) == ("lock", ItemState.RUNNING)
        steps.close()
