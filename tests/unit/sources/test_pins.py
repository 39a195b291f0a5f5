"""The lock file of charts, and archives read without trust."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.reading import Malformed
from deployer.sources.pins import Pin, about, archive_files, lock_file, read_lock, unpacked, write_lock
from tests.fakes.chart_server import packed, packed_chart, sha256

PIN = Pin("queue", "oci://r.example/charts", "^1", "1.2.0", f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")
NEWEST = Pin("other", "https://charts.example", "", "2.0.0-rc1+x", f"sha256:{'c' * 64}")


def test_what_is_written_is_read_again_and_nothing_is_written_twice(tmp_path: Path) -> None:
    path = lock_file(tmp_path / "todo-deploy.yaml")
    assert path.name == "todo-deploy.lock"
    assert read_lock(path) == {} and not write_lock(path, {}) and not path.exists()
    pins = {one.key: one for one in (PIN, NEWEST)}
    assert write_lock(path, pins) and not write_lock(path, pins)
    assert read_lock(path) == pins
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [one.name for one in tmp_path.iterdir()] == ["todo-deploy.lock"]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "LOCK_INVALID", 1),
        ("lockVersion: 9\n", "LOCK_NEWER", 1),
        ("lockVersion: 1\ncharts:\n  - {name: a}\n", "LOCK_INVALID", 3),
        (
            "lockVersion: 1\ncharts:\n  - {name: a, repository: b, requested: '', version: c, digest: d}\n",
            "LOCK_INVALID",
            3,
        ),
        ("lockVersion: 1\n<<<<<<< HEAD\n", "LOCK_INVALID", 2),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(tmp_path: Path, text: str, code: str, line: int) -> None:
    path = tmp_path / "todo-deploy.lock"
    path.write_text(text)
    with pytest.raises(DeployError) as caught:
        read_lock(path)
    found = caught.value.problems[0]
    assert found.code == code and found.where.startswith("todo-deploy.lock:")
    assert found.where.endswith(f":{line}") or "<<<" in text


def test_an_archive_is_unpacked_once_and_as_a_whole(tmp_path: Path) -> None:
    archive = tmp_path / "abc.tgz"
    archive.write_bytes(packed_chart("queue", "1.2.0", **{".helmignore": "*"}))
    folder = unpacked(archive, tmp_path / "unpacked")
    assert folder == unpacked(archive, tmp_path / "unpacked") == tmp_path / "unpacked" / "abc"
    assert sorted(one.name for one in folder.iterdir()) == ["Chart.yaml", "templates", "values.yaml"]
    assert about(archive) == ("queue", "1.2.0")
    assert [one.name for one in (tmp_path / "unpacked").iterdir()] == ["abc"]


@pytest.mark.parametrize("path", ["queue/../../x", "/etc/x", "C:\\x\\y", "x", "queue/..\\..\\x"])
def test_no_file_lies_outside_of_the_chart(tmp_path: Path, path: str) -> None:
    archive = tmp_path / "abc.tgz"
    archive.write_bytes(packed({path: "x"}))
    with pytest.raises(Malformed, match="outside"):
        list(archive_files(archive))


def test_an_archive_that_was_replaced_or_says_another_version_is_not_in_the_cache(tmp_path: Path) -> None:
    content = packed_chart("queue", "1.2.0")
    pin = Pin("queue", "r", "^1", "1.2.0", sha256(content))
    pin.archive(tmp_path).parent.mkdir()
    assert not pin.is_cached(tmp_path)
    pin.archive(tmp_path).write_bytes(content)
    assert pin.is_cached(tmp_path)
    assert not Pin("queue", "r", "^1", "1.3.0", pin.digest).is_cached(tmp_path)
    pin.archive(tmp_path).write_bytes(content[:-1])
    assert not pin.is_cached(tmp_path)
