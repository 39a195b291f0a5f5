"""Atomic files, the lock, and the stamp that later runs read."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, machine_error
from deployer.core.events import Event, Item, ItemState
from deployer.core.steps import Steps
from deployer.toolchain import locate
from deployer.toolchain.files import link, locked, read_json, work_folder, write_json
from deployer.toolchain.model import Reach, Toolchain
from tests.unit.toolchain.support import finish, nothing, program

REACH = Reach(downloads=False, registries=False, packages=True)


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    paths = {name: program(tmp_path / "programs", name, "exit 0") for name in ("minikube", "helm", "kubectl", "docker")}
    for name, path in paths.items():
        link(tmp_path / "cache/toolchain/bin" / name, path)
    return Toolchain(
        "source", "why", **paths, bin=tmp_path / "cache/toolchain/bin", versions={"helm": "v3"},
        kubernetes_version="v1.37.2", node_image="node:1", kubernetes_binaries=tmp_path / "programs",
        offline_images=True,
    )  # fmt: skip


def test_a_stamp_gives_back_what_was_written(toolchain: Toolchain, tmp_path: Path) -> None:
    locate.write_stamp("auto", tmp_path / "cache", toolchain, REACH)
    assert locate.locate_toolchain("auto", tmp_path / "cache") == toolchain
    assert locate.read_stamp("auto", tmp_path / "cache") == (toolchain, REACH)
    assert locate.locate_toolchain("path", tmp_path / "cache") is None


@pytest.mark.parametrize("harm", ["changed", "removed", "link", "pins", "broken", "empty"])
def test_a_stamp_that_no_longer_holds_is_no_answer(
    toolchain: Toolchain, tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    locate.write_stamp("auto", cache, toolchain, REACH)
    stamp = cache / "toolchain/toolchain-auto.json"
    if harm == "changed":
        os.utime(toolchain.helm, ns=(1, 1))
    elif harm == "removed":
        toolchain.minikube.unlink()
    elif harm == "link":
        (toolchain.bin / "kubectl").unlink()
    elif harm == "pins":
        monkeypatch.setattr(locate, "pins_key", lambda: "another")
    else:
        stamp.write_text("{" if harm == "broken" else "{}")
    assert locate.locate_toolchain("auto", cache) is None


def test_files_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub/file.json"
    write_json(path, {"a": 1})

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"half": 1})
    assert read_json(path) == {"a": 1}
    assert [found.name for found in path.parent.iterdir()] == ["file.json"]


def test_a_link_is_moved_to_its_new_target(tmp_path: Path) -> None:
    for target in ("one", "two", "two"):
        link(tmp_path / "bin/helm", tmp_path / target)
        assert (tmp_path / "bin/helm").readlink() == tmp_path / target


def test_work_folders_of_killed_runs_are_removed(tmp_path: Path) -> None:
    stale = tmp_path / "toolchain/work/build-helm.1"
    stale.mkdir(parents=True)
    (stale / "half").touch()

    def body() -> Steps[bool]:
        with work_folder(tmp_path, "build-helm") as folder:
            there = folder.is_dir() and not stale.exists()
        return there
        yield

    assert finish(locked(tmp_path, body()))
    assert not list((tmp_path / "toolchain/work").iterdir())


def test_a_second_run_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    entered, release = threading.Event(), threading.Event()
    order: list[str] = []

    def first() -> Steps[None]:
        entered.set()
        release.wait(5)
        order.append("first")
        return
        yield

    def second() -> Steps[None]:
        order.append("second")
        return
        yield

    thread = threading.Thread(target=lambda: finish(locked(tmp_path, first())))
    thread.start()
    entered.wait(5)
    events: list[Event] = []
    steps = locked(tmp_path, second())
    events.append(next(steps))
    release.set()
    events += list(steps)
    thread.join()
    assert order == ["first", "second"]
    assert [event.state for event in events if isinstance(event, Item)] == [ItemState.RUNNING, ItemState.DONE]


@pytest.mark.parametrize("how", ["ours", "a program's"])
def test_a_full_disk_has_its_own_code(tmp_path: Path, how: str) -> None:
    def body() -> Steps[None]:
        if how == "ours":
            raise OSError(errno.ENOSPC, "No space left on device")
        raise machine_error("TOOLCHAIN_BUILD", "x", detail="write x.a: no space left on device")
        yield

    with pytest.raises(DeployError) as caught:
        finish(locked(tmp_path, body()))
    assert caught.value.problems[0].code == "DISK_FULL"
    # The lock is free again.
    finish(locked(tmp_path, nothing()))


def test_a_link_is_not_made_to_lead_to_itself(tmp_path: Path) -> None:
    """With `toolchain: path`, PATH may have the very folder in which the links are (`todo-deploy env`)."""
    program, path, other = tmp_path / "helm", tmp_path / "bin/helm", tmp_path / "other/helm"
    program.write_text("")
    link(path, program)
    link(other, path)
    for target in (path, other):
        link(path, target)
        assert path.resolve() == program
    link(path, tmp_path / "not there yet")
    assert path.readlink().name == "not there yet"
