"""Sync: containers get what differs, deletions too, and their pods say so before the first file is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployer.config.releases import Image
from deployer.core.ports import Executed, Object
from deployer.sources import build_context, digest
from deployer.sources.digest import BuildInputs, FileHashes, Manifest
from deployer.stages import sync
from deployer.stages.sync import LABEL, Container, Wanted, can_sync, difference, is_passing, place, pod_containers
from tests.fakes import FakeKube
from tests.fakes.play import code, failed, items, played

RULES = Image.model_validate({
    "repository": "api", "context": "api",
    "sync": [
        {"from": "src/**", "to": "/app", "restart": {"signal": "SIGHUP"}},
        {"from": "conf/*.ini", "to": "/etc/api/", "restart": {"exec": ["reload", "now"]}},
        {"from": "static", "to": "/srv"},
        {"from": "main.py", "to": "/"},
        {"from": "**/*.txt", "to": "/texts"},
    ],
}).sync  # fmt: skip
POD = ("default", "api-pod", "api")


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("src/a.py", "app/a.py"),
        ("src/b/c.py", "app/b/c.py"),
        ("conf/a.ini", "etc/api/a.ini"),
        ("conf/b/a.ini", None),
        ("static/x/y.css", "srv/x/y.css"),
        ("main.py", "main.py"),
        ("other.py", None),
        ("deep/er/a.txt", "texts/deep/er/a.txt"),
        ("src", None),
    ],
)
def test_the_place_of_a_file(path: str, to: str | None) -> None:
    found = place(RULES, path)
    assert (found[0] if found else None) == to


@pytest.mark.parametrize("name", ["4913", "a.py~", ".a.py.swp", ".#a.py", "#a.py#", "a.py___jb_tmp___"])
def test_what_editors_leave_for_a_moment_is_no_change(name: str) -> None:
    assert is_passing(f"src/{name}")
    assert difference({}, {f"src/{name}": "1", "src/a.py": "2"}).changed == ("src/a.py",)


def test_a_folder_comes_with_its_files_and_asks_for_no_build() -> None:
    assert can_sync(RULES, {}, {"new": digest.FOLDER, "new/a.txt": "1"})
    assert can_sync(RULES, {"new": digest.FOLDER, "new/a.txt": "1"}, {})
    assert not can_sync(RULES, {}, {"/Dockerfile": "1"})
    assert not can_sync(RULES, {}, {"src/line\nend": "1"})


def tree(root: Path) -> Manifest:
    files = build_context.context_files(root)
    whole = digest.image_digest(BuildInputs(root, files, b""), FileHashes()).manifest
    return {path: part for path, part in whole.items() if path != "/Dockerfile"}


def pod(**status: Any) -> Object:
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "default", "name": "api-pod", "labels": {}},
        "spec": {"containers": [{"name": "api", "image": "api:1"}]},
        "status": {"containerStatuses": [{"name": "api", "containerID": "docker://" + "c" * 64,
                                          "state": {"running": {}}, **status}]},
    }  # fmt: skip


class Ground:
    """A context, and a container that has it as its image was built from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kube = FakeKube()
        self.kube.put(pod())
        self.kube.files[POD] = {}
        self.have: Manifest = {}
        self.notes: dict[Container, Manifest] = {}

    def sync(self) -> Wanted:
        (container,) = pod_containers(self.kube.list("Pod", "default"))
        have = self.notes.get(container, self.have)
        return Wanted("api", self.root, RULES, tree(self.root), {container: have})

    def note(self, container: Container, manifest: Manifest) -> None:
        self.notes[container] = manifest

    def files(self) -> dict[str, bytes]:
        return {path: content for path, content in self.kube.files[POD].items() if path.endswith(".py")}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    (tmp_path / "src/old").mkdir(parents=True)
    (tmp_path / "src/a.py").write_text("a")
    (tmp_path / "src/old/b.py").write_text("b")
    return Ground(tmp_path)


def test_files_come_and_go(ground: Ground) -> None:
    events, outcome = played(sync.sync([ground.sync()], ground.kube, ground.note))
    assert ground.files() == {"/app/a.py": b"a", "/app/old/b.py": b"b"}
    assert outcome.changed and items(events)[-1][:2] == ("api", "done")
    shutil.move(ground.root / "src/old", ground.root / "src/new")
    (ground.root / "src/a.py").unlink()
    played(sync.sync([ground.sync()], ground.kube, ground.note))
    assert ground.files() == {"/app/new/b.py": b"b"}
    (manifest,) = ground.notes.values()
    assert difference(manifest, tree(ground.root)) == difference({}, {})


def test_a_file_that_becomes_a_folder_is_deleted_first(ground: Ground) -> None:
    played(sync.sync([ground.sync()], ground.kube, ground.note))
    (ground.root / "src/a.py").unlink()
    (ground.root / "src/a.py").mkdir()
    (ground.root / "src/a.py/x.py").write_text("x")
    shutil.rmtree(ground.root / "src/old")
    (ground.root / "src/old").write_text("no folder")
    played(sync.sync([ground.sync()], ground.kube, ground.note))
    assert ground.kube.files[POD] == {"/app/a.py": b"", "/app/a.py/x.py": b"x", "/app/old": b"no folder"}


def test_the_pod_is_labelled_before_the_first_file(ground: Ground) -> None:
    ground.kube.files.clear()
    _, error = failed(sync.sync([ground.sync()], ground.kube, ground.note))
    found = ground.kube.get("Pod", "default", "api-pod")
    assert found is not None and found["metadata"]["labels"] == {LABEL: "c" * 12}
    assert code(error) == "SYNC_LOST"
    (left,) = ground.notes.values()
    assert difference(left, tree(ground.root)).changed  # whatever has arrived, all of it is sent again
    assert all(one.is_labelled for one in pod_containers([found]))


def test_a_read_only_file_system_is_named_with_what_mends_it(ground: Ground) -> None:
    ground.kube.read_only.add(POD)
    _, error = failed(sync.sync([ground.sync()], ground.kube, ground.note))
    assert code(error) == "SYNC_FAILED" and "readOnlyRootFilesystem" in error.problems[0].hints[0]


def test_the_program_is_made_to_take_the_files(ground: Ground) -> None:
    (ground.root / "conf").mkdir()
    (ground.root / "conf/a.ini").write_text("a")
    ground.kube.commands["reload", "now"] = Executed(1, "a.py:1: SyntaxError")
    _, error = failed(sync.sync([ground.sync()], ground.kube, ground.note))
    commands = [command for *_, command in ground.kube.executed[1:]]
    assert commands == [("reload", "now")]
    assert code(error) == "SYNC_RESTART" and "SyntaxError" in error.problems[0].detail
    assert ground.notes  # the files are there: the next save sends only what differs
    del ground.kube.commands["reload", "now"]
    (ground.root / "src/a.py").write_text("better")
    played(sync.sync([ground.sync()], ground.kube, ground.note))
    assert ground.kube.executed[-1][3] == ("kill", "-HUP", "1")


def test_only_running_containers_of_pods_that_stay_count() -> None:
    gone = pod()
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    waiting = pod(state={"waiting": {}})
    assert pod_containers([gone, waiting]) == ()
    assert [one.image for one in pod_containers([pod()])] == ["api:1"]


def test_the_script_does_in_a_shell_what_is_asked(tmp_path: Path, ground: Ground) -> None:
    """With a `tar` that unpacks below a folder instead of `/`, and paths below it."""
    target, tools = tmp_path / "root", tmp_path / "bin"
    for folder in (target / "app/sub dir", tools):
        folder.mkdir(parents=True)
    for name in ("-x", "sub dir/x", *map(str, range(250))):
        (target / "app" / name).write_text("old")
    (tools / "tar").write_text(f"#!/bin/sh\nexec {shutil.which('tar')} -xmof - -C {target}\n")
    (tools / "tar").chmod(0o755)
    file = build_context.ContextFile("x", "file", executable=True)
    raw = build_context.packed({"app/run": (file, b"#!/bin/sh\n"), "app/new/y": (file, b"y")})
    gone = ["sub dir", "-x", *map(str, range(250))]
    lines = "".join(f"{target}/app/{name}\n" for name in gone) + "\n"
    script = sync.script([("echo", "it's"), ("sh", "-c", "cat; echo no >&2; exit 3"), ("echo", "never")])
    done = subprocess.run(
        ["sh", "-c", script, str(len(raw))], input=lines.encode() + raw + b"never read", check=False,
        stdout=subprocess.PIPE, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.decode()) == (3, f"{sync.COPIED}\nit's\n{sync.COPIED}\nno\n")
    left = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert left == ["app/new/y", "app/run"]
    assert os.access(target / "app/run", os.X_OK)
