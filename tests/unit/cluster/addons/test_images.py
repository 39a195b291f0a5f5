"""An addon's images from the module to the cluster's daemon, with fakes of go and docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.cluster.addons import images
from deployer.cluster.addons.table import ADDONS, Addon
from deployer.core.ports import DockerEndpoint, ImageFacts
from deployer.toolchain.source.node import kube_proxy_os
from tests.fakes import FakeImages
from tests.unit.toolchain.support import finish, program
from tests.unit.toolchain.test_go import FAKE_GO
from tests.unit.toolchain.test_images import FAKE_DOCKER

NODE = DockerEndpoint("tcp://192.0.2.10:2376")
METALLB = ADDONS["metallb"]


class Host(FakeImages):
    """The host's daemon: it has what the fake docker has built."""

    def __init__(self, store: Path, node: FakeImages) -> None:
        super().__init__(others={NODE: node})
        self.store = store

    def image(self, ref: str) -> ImageFacts | None:
        if (self.store / ref.replace("/", "_").replace(":", "_")).exists():
            self.known[ref] = ImageFacts(ref, f"sha256:{ref}", 1000, "", "amd64")
        return super().image(ref)

    def copy_to(self, other: DockerEndpoint, refs: object) -> None:
        known = [ref for ref in refs if self.image(ref) is not None]  # type: ignore[attr-defined]
        super().copy_to(other, known)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "store").mkdir()
    said = 'if [ "$1" = env ]; then echo go1.26.4; exit; fi'
    program(tmp_path / "bin", "go", said + FAKE_GO)
    program(tmp_path / "bin", "docker", FAKE_DOCKER)
    (tmp_path / "calls").touch()
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    return {"PATH": path, "STORE": str(tmp_path / "store"), "CALLS": str(tmp_path / "calls"), "HOME": str(tmp_path)}


def supplied(tmp_path: Path, host: Host, node: FakeImages, environment: dict[str, str], addon: Addon = METALLB) -> None:
    docker = tmp_path / "bin" / "docker"
    finish(images.ensure_images([addon], docker, images.Daemons(host, {NODE: node}), tmp_path / "cache", environment))


def test_what_is_lacking_is_built_once_and_copied(tmp_path: Path, environment: dict[str, str]) -> None:
    node = FakeImages()
    host = Host(tmp_path / "store", node)
    supplied(tmp_path, host, node, environment)
    refs = [images.recipe(image, tmp_path / "cache", environment).ref for image in METALLB.images]
    assert sorted(node.known) == sorted(refs)
    calls = (tmp_path / "calls").read_text()
    assert calls.count("-mod=readonly") == 1, "both programs are of one module"
    assert "go.universe.tf/metallb/controller go.universe.tf/metallb/speaker" in calls

    node.known.clear()
    supplied(tmp_path, host, node, environment)
    assert (tmp_path / "calls").read_text() == calls, "the host has them: nothing is built for another cluster"
    assert sorted(node.known) == sorted(refs)

    copies = len(host.copied)
    supplied(tmp_path, host, node, environment)
    assert len(host.copied) == copies


def test_a_program_that_calls_iptables_stands_on_what_has_it(tmp_path: Path, environment: dict[str, str]) -> None:
    node, addon = FakeImages(), ADDONS["network-policies"]
    supplied(tmp_path, Host(tmp_path / "store", node), node, environment, addon)
    calls = (tmp_path / "store" / "calls").read_text().splitlines()
    builds = [line for line in calls if line.startswith("build ")]
    system = kube_proxy_os(environment).ref
    assert [system in line for line in builds] == [True, True]
    assert f"--build-arg OS={system}" in builds[1], "the system first, then the program on it"
    assert sorted(node.known) == [images.recipe(addon.images[0], tmp_path / "cache", environment).ref]
