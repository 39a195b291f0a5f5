"""Digests are the same for the same content, and differ for any other; nothing stale is ever remembered."""

import hashlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core.errors import DeployError
from deployer.sources.build_context import context_files, stamp_of
from deployer.sources.digest import BuildInputs, FileHashes, changed_files, image_digest, parts_digest


def inputs(root: Path, **changes: Any) -> BuildInputs:
    if not root.exists():
        (root / "app").mkdir(parents=True)
        (root / "app" / "main.py").write_text("print(1)")
        (root / "run.sh").write_text("#!/bin/sh")
        (root / "link").symlink_to("run.sh")
        (root / "empty").mkdir()
    base = BuildInputs(root, context_files(root), b"FROM scratch", {"A": "1"}, "prod", "linux/amd64", {"BASE": "x:1"})
    return replace(base, **changes)


def value(of: BuildInputs) -> str:
    return image_digest(of, FileHashes()).value


def test_the_same_content_has_the_same_digest(tmp_path: Path) -> None:
    one, two = inputs(tmp_path / "one"), inputs(tmp_path / "two")
    os.utime(tmp_path / "two" / "run.sh", (1, 1))
    (tmp_path / "two" / "run.sh").chmod(0o600)
    assert value(one) == value(two) == value(replace(one, files=one.files[::-1]))
    assert value(replace(one, args={"B": "2", "A": "1"})) == value(replace(one, args={"A": "1", "B": "2"}))
    assert len(value(one)) == 64


CHANGES: list[tuple[Callable[[Path], object], str]] = [
    (lambda root: (root / "app" / "main.py").write_text("print(2)"), "app/main.py modified"),
    (lambda root: (root / "app" / "new.py").write_text(""), "app/new.py added"),
    (lambda root: (root / "app" / "main.py").unlink(), "app/main.py removed"),
    (lambda root: (root / "run.sh").chmod(0o755), "run.sh modified"),
    (lambda root: ((root / "link").unlink(), (root / "link").symlink_to("app")), "link modified"),
    (lambda root: ((root / "link").unlink(), (root / "link").write_text("run.sh")), "link modified"),
    (lambda root: (root / "empty").rmdir(), "empty removed"),
]


@pytest.mark.parametrize(("change", "shown"), CHANGES)
def test_a_change_of_files_is_seen_and_reported(tmp_path: Path, change: Callable[[Path], object], shown: str) -> None:
    before = image_digest(inputs(tmp_path / "x"), FileHashes())
    change(tmp_path / "x")
    after = image_digest(inputs(tmp_path / "x"), FileHashes())
    assert before.value != after.value
    assert [str(item) for item in changed_files(before.manifest, after.manifest)] == [shown]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"dockerfile": b"FROM other"}, "the Dockerfile modified"),
        ({"args": {"A": "2"}}, "build argument A modified"),
        ({"args": {}}, "build argument A removed"),
        ({"args": {"A": "1", "B": ""}}, "build argument B added"),
        ({"target": None}, "the target removed"),
        ({"target": "dev"}, "the target modified"),
        ({"platform": "linux/arm64"}, "the platform modified"),
        ({"bases": {"BASE": "x:2"}}, "base image BASE modified"),
    ],
)
def test_a_change_of_anything_else_is_seen_and_reported(tmp_path: Path, change: dict[str, Any], shown: str) -> None:
    of = inputs(tmp_path / "x")
    before, after = image_digest(of, FileHashes()), image_digest(replace(of, **change), FileHashes())
    assert before.value != after.value
    assert [str(item) for item in changed_files(before.manifest, after.manifest)] == [shown]


def test_no_two_inputs_are_the_same_bytes(tmp_path: Path) -> None:
    of = inputs(tmp_path / "x", args={}, target=None, platform=None, bases={})
    variants = [
        of,
        replace(of, args={"a": ""}),
        replace(of, args={"a": "b"}),
        replace(of, args={"ab": ""}),
        replace(of, bases={"a": "b"}),
        replace(of, args={"a": "b", "c": "d"}),
        replace(of, args={"a": "bcd"}),
        replace(of, target=""),
        replace(of, platform=""),
        replace(of, target="a"),
        replace(of, dockerfile=b"", target="FROM scratch"),
        replace(of, files=of.files[:-1]),
    ]
    digests = [value(variant) for variant in variants]
    assert all(a != b for a, b in itertools.combinations(digests, 2))
    assert parts_digest({"a": b"bc"}).value != parts_digest({"ab": b"c"}).value
    assert parts_digest({"a": b"", "b": b""}).value != parts_digest({"a": b"b"}).value


def test_a_dockerfile_within_the_context_is_reported_once(tmp_path: Path) -> None:
    old, new = {"/Dockerfile": "1", "Dockerfile": "1"}, {"/Dockerfile": "2", "Dockerfile": "2"}
    assert [str(item) for item in changed_files(old, new)] == ["Dockerfile modified"]
    assert [str(item) for item in changed_files(old, {**old, "/Dockerfile": "2"})] == ["the Dockerfile modified"]


def old(path: Path, text: str) -> Path:
    """A file whose last change is long past: only the clock that is given to the cache can say so."""
    path.write_text(text)
    return path


LATER = 10_000_000_000


def later() -> int:
    return time.time_ns() + LATER


def test_unchanged_files_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = old(tmp_path / "a", "one"), tmp_path / "cache" / "hashes.json"
    first = FileHashes(cache, now=later)
    expected = first.sha256(file)
    first.save()
    second = FileHashes(cache, now=later)
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("opened again"))
    assert second.sha256(file) == expected
    monkeypatch.undo()
    second.save()
    assert [path.name for path in cache.parent.iterdir()] == ["hashes.json"]


def test_what_a_file_has_more_than_when_it_was_listed_is_not_hashed(tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    log.write_text("one\n")
    inputs = BuildInputs(tmp_path, context_files(tmp_path), b"")
    before = image_digest(inputs, FileHashes()).value
    log.write_text("one\ntwo\n")
    hashes = FileHashes(tmp_path.with_name("hashes"))
    assert image_digest(inputs, hashes).value == before
    assert image_digest(BuildInputs(tmp_path, context_files(tmp_path), b""), hashes).value != before


def test_a_file_that_was_just_changed_is_read_again(tmp_path: Path) -> None:
    """Same size, same times, other content: possible within one tick of the clock, so it is never remembered."""
    file, cache = old(tmp_path / "a", "one"), tmp_path / "hashes.json"
    hashes = FileHashes(cache)
    first = hashes.sha256(file)
    hashes.save()
    info = file.stat()
    file.write_text("two")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert hashes.sha256(file) != first
    assert FileHashes(cache).sha256(file) != first


@pytest.mark.parametrize("change", ["content", "size", "replaced", "time"])
def test_changed_files_are_read_again(tmp_path: Path, change: str) -> None:
    file, cache = old(tmp_path / "a", "one"), tmp_path / "hashes.json"
    hashes = FileHashes(cache, now=later)
    first = hashes.sha256(file)
    info = file.stat()
    if change == "replaced":
        other = old(tmp_path / "b", "two")
        os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
        other.replace(file)
    else:
        file.write_text({"content": "two", "size": "three", "time": "two"}[change])
        if change == "time":  # the status time cannot be set back
            time.sleep(0.01)
            os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert hashes.sha256(file) != first


def test_a_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    file, cache = old(tmp_path / "a", "one"), tmp_path / "hashes"
    hashes = FileHashes(cache, now=later)
    expected = hashes.sha256(file)
    hashes.save()
    whole = cache.read_bytes()
    other = whole.replace(expected.encode(), b"0" * 64)  # a hash that is not the file's, under the old checksum
    for damaged in (b"", b"{}", b"\xff", whole[:-1], whole + b"x", other, whole.replace(b"hashes 2", b"hashes 1")):
        cache.write_bytes(damaged)
        hashes = FileHashes(cache, now=later)
        assert hashes.sha256(file) == expected
        hashes.save()
        assert cache.read_bytes() == whole


_EDITS = ("write", "same size", "restored time", "rename", "swap", "hard link", "symlink", "touch", "none")
_FILE = st.integers(0, 3)


def _coarse(info: os.stat_result) -> str:
    """The stamp of a file system whose clock stands still while the test lasts."""
    return f"{info.st_size} {info.st_ino}"


@pytest.mark.parametrize("stamp", [stamp_of, _coarse])
@given(edits=st.lists(st.tuples(st.sampled_from(_EDITS), _FILE, _FILE, st.binary(min_size=3, max_size=3))))
@settings(deadline=None, max_examples=40)
def test_no_edit_ever_reuses_the_hash_of_other_content(
    stamp: Callable[[os.stat_result], str], edits: list[tuple[str, int, int, bytes]]
) -> None:
    """Edits of one tick, of the same size, with times put back, by renames and by links: the content decides.

    After every second edit some seconds go by for the cache, so that some hashes are kept and some are not.
    """
    with tempfile.TemporaryDirectory() as folder, patch("deployer.sources.digest.stamp_of", stamp):
        root, cache = Path(folder), Path(folder) / "hashes"
        files = [root / str(number) for number in range(4)]
        for number, file in enumerate(files):
            file.write_bytes(b"%03d" % number)
        for at, (edit, one, two, content) in enumerate(edits):
            _edit(edit, files[one], files[two], content)
            is_later = bool(at % 2) and stamp is not _coarse
            hashes = FileHashes(cache, now=later if is_later else time.time_ns)
            for file in files:
                assert hashes.sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest(), edit
            hashes.save()
            if is_later:  # seconds have gone by: so has a tick of the clock that files are stamped with
                _next_tick(root / "tick")


def _next_tick(probe: Path) -> None:
    probe.write_text("")
    begun = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == begun:
        probe.write_text("")


def _edit(edit: str, one: Path, two: Path, content: bytes) -> None:
    info = one.stat()
    match edit:
        case "write":
            one.write_bytes(content * 2)
        case "same size":
            one.write_bytes(content[: info.st_size].ljust(info.st_size, b"."))
        case "restored time":
            one.write_bytes(content[: info.st_size].ljust(info.st_size, b"."))
            os.utime(one, ns=(info.st_atime_ns, info.st_mtime_ns))
        case "rename":
            new = one.with_name("new")
            new.write_bytes(content)
            new.replace(one)
        case "swap" if one != two and not one.is_symlink() and not two.is_symlink():
            one.rename(one.with_name("aside"))
            two.rename(one)
            one.with_name("aside").rename(two)
        case "hard link" if not one.samefile(two):
            two.unlink()
            two.hardlink_to(one.resolve())
        case "symlink" if not one.samefile(two):
            two.unlink()
            two.symlink_to(one.resolve())
        case "touch":
            os.utime(one)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "not-a-folder").write_text("")
    hashes = FileHashes(tmp_path / "not-a-folder" / "hashes.json", now=later)
    hashes.sha256(old(tmp_path / "a", "one"))
    hashes.save()


def test_unreadable_files_and_odd_names(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="cannot read"):
        FileHashes().sha256(tmp_path / "none")
    odd = tmp_path / b"caf\xe9\n".decode("utf-8", "surrogateescape")
    cache = tmp_path / "hashes.json"
    hashes = FileHashes(cache, now=later)
    hashes.sha256(old(odd, "x"))
    hashes.save()
    assert FileHashes(cache, now=later).sha256(odd) == hashes.sha256(odd)
    assert image_digest(BuildInputs(tmp_path, context_files(tmp_path), b""), hashes).value
