"""A file of one user's is whole or as it was, whatever interrupts its writing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.files import copy_within, path_component, write_private, write_within


def test_its_owner_alone_reads_it_and_a_link_goes_on_leading_to_it(tmp_path: Path) -> None:
    link, file = tmp_path / "link", tmp_path / "deep" / "file"
    link.symlink_to(file)
    write_private(link, "größer\n")
    assert link.is_symlink() and file.read_text(encoding="utf-8") == "größer\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_cannot_be_written_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_private(file, "before")
    with pytest.raises(UnicodeEncodeError):
        write_private(file, "x" * 100_000 + "\udcff")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_mode_may_be_asked_for(tmp_path: Path) -> None:
    write_private(tmp_path / "program", b"\x7fELF", 0o755, sync=True)
    assert stat.S_IMODE((tmp_path / "program").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["", ".", "..", ".ssh", "a/b", "/etc", "a\\b", "C:", "a\0b", "a\nb", "é" * 101])
def test_a_name_that_is_no_component_of_a_path(name: str) -> None:
    with pytest.raises(DeployError) as caught:
        path_component(name, "a chart", "Chart.yaml:3")
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("NAME_PATH", "Chart.yaml:3")


def test_ordinary_names_are_components(tmp_path: Path) -> None:
    for name in ("web", "my-chart_2.0+x", "größe", "a..b", "20261128T200000Z-1a2b"):
        assert path_component(name, "a chart") == name


@pytest.mark.parametrize("relative", ["", "../x", "a/../../x", "/tmp/x", "link/x", "deep/link/x"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, relative: str) -> None:
    folder, outside = tmp_path / "staging", tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "source").write_text("s")
    for link in (folder / "link", folder / "deep" / "link"):
        link.symlink_to(outside)
    for write in (
        lambda: write_within(folder, relative, "x"),
        lambda: copy_within(folder, relative, outside / "source"),
    ):
        with pytest.raises(DeployError) as caught:
            write()
        assert caught.value.problems[0].code == "PATH_OUTSIDE"
    assert [path.name for path in outside.iterdir()] == ["source"] and not (tmp_path / "x").exists()


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "staging", tmp_path / "outside"
    folder.mkdir()
    outside.write_text("theirs")
    (folder / "file").symlink_to(outside)
    path = write_within(folder, "file", "ours")
    assert path.read_text() == "ours" and not path.is_symlink() and outside.read_text() == "theirs"


def test_what_is_written_within_is_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\0\1")
    path = copy_within(tmp_path / "folder", "a/b/c", tmp_path / "source")
    assert path.read_bytes() == b"\0\1" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path.parent.parent, tmp_path / "folder")} == {
        0o700
    }
