from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deployer import composition
from deployer.core.errors import DeployError, input_error
from deployer.core.events import Log
from deployer.core.ports import BuildFailed, BuildRequest, DockerEndpoint, ImagePort
from deployer.core.steps import Steps, merge
from deployer.images.docker import DockerEngine
from deployer.toolchain.source.debian import base_ref
from tests.contract.conftest import BOTH, Clients, Connected, opened
from tests.fakes import FakeImages
from tests.fakes.play import played

LABEL = "todo-deploy.dev/contract"


def context(dockerfile: str, **files: str) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, text in {"Dockerfile": dockerfile, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    packed.seek(0)
    return packed


def request(name: str, dockerfile: str, *, target: str | None = None, **files: str) -> BuildRequest:
    return BuildRequest(
        f"{name}:1", context(dockerfile, **files), "Dockerfile", {}, {LABEL: name}, target, no_cache=True
    )


@pytest.fixture
def images(clients: Clients, name: str) -> Iterator[ImagePort]:
    yield clients.images
    clients.images.remove(f"{name}:1")


@pytest.fixture
def other(kind: str, clients: Clients) -> Iterator[tuple[DockerEndpoint, ImagePort]]:
    """Another daemon, which images are copied to."""
    if kind == "real":
        host = composition.this_machine().host_docker
        with opened(host) as daemon:
            yield host, daemon
        return
    endpoint, second = DockerEndpoint("unix:///fake/other.sock"), FakeImages()
    assert isinstance(clients.images, FakeImages)
    clients.images.others[endpoint] = second
    yield endpoint, second


@BOTH
def test_an_image_that_is_not_there_is_none(clients: Clients, name: str) -> None:
    assert clients.images.image(f"{name}:1") is None
    assert clients.images.image(f"no name/{name}:1") is None
    clients.images.remove(f"{name}:1")


@BOTH
def test_an_archive_brings_an_image_back(images: ImagePort, name: str) -> None:
    list(images.build(request(name, "FROM scratch\nCOPY hello /hello\n", hello="hello")))
    before = images.image(f"{name}:1")
    archive = list(images.save([f"{name}:1"]))
    images.remove(f"{name}:1")
    assert images.image(f"{name}:1") is None
    images.load(archive)
    assert images.image(f"{name}:1") == before
    with pytest.raises(DeployError) as caught:
        images.load([b"no archive at all"])
    assert caught.value.problems[0].code == "IMAGES_LOAD"


@BOTH
def test_a_build_shows_its_steps_and_leaves_the_image(images: ImagePort, name: str) -> None:
    lines = list(images.build(request(name, "# a comment\nFROM scratch\nCOPY hello /hello\n", hello="hello")))
    steps = [line for line in lines if line.startswith("Step ")]
    # The labels that were asked for are a step of the builder's own, after those of the Dockerfile.
    assert steps == ["Step 1/3 : FROM scratch", "Step 2/3 : COPY hello /hello", f"Step 3/3 : LABEL {LABEL}={name}"]
    assert f"{name}:1" in images.refs()
    found = images.image(f"{name}:1")
    assert found is not None
    assert (found.ref, found.labels[LABEL], found.architecture != "") == (f"{name}:1", name, True)
    assert found.size > 0


@BOTH
def test_images_are_found_by_label(images: ImagePort, name: str) -> None:
    list(images.build(request(name, "FROM scratch\nCOPY hello /hello\n", hello="hello")))
    assert [one.ref for one in images.images(f"{LABEL}={name}")] == [f"{name}:1"]
    assert f"{name}:1" in [one.ref for one in images.images(LABEL)]
    assert list(images.images(f"{LABEL}=other")) == []


@BOTH
def test_a_failed_build_names_its_step_and_leaves_no_image(images: ImagePort, name: str) -> None:
    lines: list[str] = []
    with pytest.raises(BuildFailed) as caught:
        lines.extend(images.build(request(name, "FROM scratch\nCOPY absent /absent\n")))
    assert caught.value.step.endswith(": COPY absent /absent")
    assert "absent" in str(caught.value)
    assert caught.value.tail[-1].startswith("Step 2/")
    assert images.image(f"{name}:1") is None


@BOTH
def test_a_removed_image_is_gone(images: ImagePort, name: str) -> None:
    list(images.build(request(name, "FROM scratch\nCOPY hello /hello\n", hello="hello")))
    images.remove(f"{name}:1")
    assert images.image(f"{name}:1") is None


@BOTH
def test_an_image_is_copied_into_another_daemon(
    images: ImagePort, other: tuple[DockerEndpoint, ImagePort], name: str
) -> None:
    list(images.build(request(name, "FROM scratch\nCOPY hello /hello\n", hello=name)))
    endpoint, daemon = other
    try:
        images.copy_to(endpoint, [f"{name}:1"])
        here, there = images.image(f"{name}:1"), daemon.image(f"{name}:1")
        assert here is not None and there is not None
        assert here.labels == there.labels
    finally:
        daemon.remove(f"{name}:1")


@pytest.mark.cluster
def test_a_build_that_is_given_up_ends_before_its_step_does(connected: Connected, name: str) -> None:
    base = shell_image(connected)
    wanted = request(name, f"FROM {base}\nRUN sleep 120\n")
    running = threading.Event()

    def build() -> Steps[None]:
        for line in connected.images.build(wanted):
            yield Log("images", name, line)
            if line.startswith("Step 2/"):
                running.set()

    def bad() -> Steps[None]:
        yield Log("images", "bad", "waits")
        assert running.wait(60)
        raise input_error("BAD", "another build failed")

    begun = time.monotonic()
    with pytest.raises(DeployError, match="another build failed"):
        played(merge({"build": build, "bad": bad}))
    assert time.monotonic() - begun < 100, "the step was waited for"
    assert connected.images.image(f"{name}:1") is None


def shell_image(connected: Connected) -> str:
    """An image of the cluster's daemon that has a shell: an application's, or else the host's own Debian base."""
    for found in connected.images.images("todo-deploy.dev/application"):
        return found.ref
    host = composition.open_images(composition.this_machine().host_docker)
    if host.image(base_ref()) is None:
        pytest.skip("images can be pulled on this machine, so that no base of our own is here")
    endpoint = connected.facts.docker
    assert endpoint is not None
    host.copy_to(endpoint, [base_ref()])
    return base_ref()


def test_the_fake_reads_the_dockerfile_that_it_is_sent(tmp_path: Path) -> None:
    daemon = FakeImages()
    with pytest.raises(BuildFailed, match="absent"):
        list(daemon.build(request("x", "FROM absent\n")))


def test_a_file_in_a_volume_is_emptied_and_nothing_else_is_left(name: str) -> None:
    """The machine's own daemon, which has no image for it."""
    with closing(DockerEngine(composition.this_machine().host_docker)) as engine:
        before = engine._client.images(all=True)
        engine.empty_file(name, "tmp/kubeadm.yaml")  # no such volume
        engine.make_volume(name, {})
        try:
            engine.empty_file(name, "tmp/kubeadm.yaml")  # no such folder
            folder = Path(engine._client.inspect_volume(name)["Mountpoint"]) / "tmp"
            folder.mkdir()
            for file in ("kubeadm.yaml", "other"):
                (folder / file).write_text("full")
            engine.empty_file(name, "tmp/kubeadm.yaml")
            assert {one.name: one.read_text() for one in folder.iterdir()} == {"kubeadm.yaml": "", "other": "full"}
        finally:
            engine.remove_volume(name)
        left = engine._client.images(all=True)
        assert {one["Id"] for one in left} == {one["Id"] for one in before}
        assert not engine._client.containers(all=True, filters={"volume": name})
