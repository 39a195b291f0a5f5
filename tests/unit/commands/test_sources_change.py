"""Files that change while `up` runs: a tag names what was built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.steps import Steps
from deployer.stages import images as images_stage
from tests.fakes.play import code, failed, played
from tests.fakes.shop import Shop


def _edited_before_each_build(shop: Shop, patch: pytest.MonkeyPatch, text: Callable[[int], str]) -> list[int]:
    """The file has another text between the plan and each build; returns the number of builds."""
    ensure, builds = images_stage.ensure_images, list[int]()

    def edited(*arguments: object) -> Steps[object]:
        builds.append(len(builds))
        (shop.root / "api/app.py").write_text(text(builds[-1]))
        return ensure(*arguments)  # type: ignore[arg-type]

    patch.setattr(images_stage, "ensure_images", edited)
    return builds


def test_the_plan_is_made_again_for_a_file_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    (shop.root / "api/app.py").write_text("first")
    builds = _edited_before_each_build(shop, monkeypatch, lambda _: "second")
    _, result = played(shop.up("1"))
    (image,) = result.images
    assert builds == [0, 1]
    assert image.ref == shop.images.built[0].ref
    _, again = played(shop.up("1"))
    assert (again.changed, again.images[0].ref) == (False, image.ref)


def test_a_log_that_grows_is_built_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    (shop.root / "api/app.py").write_text("first")
    builds = _edited_before_each_build(shop, monkeypatch, lambda _: "first and more")
    played(shop.up("1"))
    assert builds == [0]


def test_a_file_that_always_changes_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    (shop.root / "api/app.py").write_text("first")
    builds = _edited_before_each_build(shop, monkeypatch, str)
    _, error = failed(shop.up("1"))
    assert isinstance(error, DeployError)
    assert (error.exit_code, code(error)) == (ExitCode.INPUT, "CONTEXT_CHANGED")
    assert "app.py" in error.problems[0].title
    assert (len(builds), shop.images.built) == (10, [])
