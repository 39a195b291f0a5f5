"""A file of one user's is whole or as it was, whatever interrupts its writing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from deployer.core.files import write_private


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
