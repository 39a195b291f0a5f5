from __future__ import annotations

from pathlib import Path

import pytest

from deployer.plan import ImagePlan, ImageSource
from deployer.state.build_cache import Previous, memory_path, recall, remember


def image(name: str, digest: str) -> ImagePlan:
    source = ImageSource(digest, {"app.py": digest})
    where = Path(name)
    return ImagePlan(name, name, digest, where, where / "Dockerfile", {}, (), None, {}, "1m", source)


def previous(name: str, digest: str) -> Previous:
    return Previous(f"{name}:{digest}", ImageSource(digest, {"app.py": digest}))


def test_what_was_remembered_is_recalled(tmp_path: Path) -> None:
    path = memory_path(tmp_path)
    remember(path, {}, (image("api", "d1"),))
    assert recall(path) == {"api": previous("api", "d1")}


def test_images_that_were_not_part_of_the_run_stay_remembered(tmp_path: Path) -> None:
    path = memory_path(tmp_path)
    remember(path, {}, (image("api", "d1"), image("web", "d1")))
    remember(path, recall(path), (image("api", "d2"),))
    assert recall(path) == {"api": previous("api", "d2"), "web": previous("web", "d1")}


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    path = memory_path(tmp_path)
    remember(path, {"api": previous("api", "d1")}, (image("api", "d1"),))
    assert not path.exists()


def test_no_draft_is_left_behind(tmp_path: Path) -> None:
    path = memory_path(tmp_path)
    remember(path, {}, (image("api", "d1"),))
    assert [one.name for one in path.parent.iterdir()] == ["images.json"]


@pytest.mark.parametrize("text", ["", "not json", "[]", "3", "null", '{"api": 1}', '{"api": {"ref": "x"}}'])
def test_a_memory_that_cannot_be_read_is_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "images.json"
    path.write_text(text)
    assert recall(path) == {}


def test_no_memory_is_empty(tmp_path: Path) -> None:
    assert recall(tmp_path / "absent.json") == {}


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "deployments").write_text("a file")
    remember(memory_path(tmp_path), {}, (image("api", "d1"),))
