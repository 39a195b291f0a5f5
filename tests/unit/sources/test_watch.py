"""Watching: whoever is woken looks himself; nothing that happens is missed."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import watchfiles

from deployer.sources.watch import Watcher

PATIENCE = 20.0


class Ear:
    def __init__(self) -> None:
        self.heard: queue.Queue[Collection[str]] = queue.Queue()
        self.watcher = Watcher(self.heard.put)

    def hears(self, path: Path | None = None) -> None:
        """It is woken, by that path if any."""
        while (paths := self.heard.get(timeout=PATIENCE)) and path is not None and str(path) not in paths:
            pass


@pytest.fixture
def ear() -> Iterator[Ear]:
    made = Ear()
    yield made
    made.watcher.close()


def test_a_save_and_a_rename_over_wake(tmp_path: Path, ear: Ear) -> None:
    ear.watcher.watch([tmp_path])
    ear.hears()
    (tmp_path / "a").write_text("1")
    ear.hears(tmp_path / "a")
    (tmp_path / "b").write_text("2")
    (tmp_path / "b").replace(tmp_path / "a")
    ear.hears(tmp_path / "a")


def test_a_folder_that_was_made_anew_is_watched_again(tmp_path: Path, ear: Ear) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    ear.watcher.watch([tmp_path, folder])
    ear.hears()
    shutil.rmtree(folder)
    folder.mkdir()
    ear.hears(folder)
    ear.watcher.watch([tmp_path, folder])
    ear.hears()
    (folder / "a").write_text("1")
    ear.hears(folder / "a")


def test_other_folders_take_the_place_of_those_before(tmp_path: Path, ear: Ear) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    ear.watcher.watch([tmp_path / "one"])
    ear.watcher.watch([tmp_path / "two", tmp_path / "missing"])
    (tmp_path / "two/a").write_text("1")
    ear.hears(tmp_path / "two/a")


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached."), RuntimeError("Too many open files")])
def test_it_polls_where_no_more_can_be_watched(
    tmp_path: Path, ear: Ear, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> Iterator[object]:
        raise error

    monkeypatch.setattr(watchfiles, "watch", full)
    ear.watcher.watch([tmp_path])
    for _ in range(3):
        assert ear.heard.get(timeout=PATIENCE) == ()
    assert ear.watcher.polls
