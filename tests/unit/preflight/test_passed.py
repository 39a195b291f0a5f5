"""What passed the rules before, and by what it is known again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.core.errors import Problem
from deployer.preflight.validate import Passed, identity, recall, shapes_of
from deployer.state.record import ReleaseRecord, new_record, with_release
from tests.unit.preflight.rules.subjects import subject


def test_what_passed_is_remembered(tmp_path: Path) -> None:
    made = subject(lambda parts: None)
    (release,) = made.plan.releases
    applied = with_release(new_record(), release.name, ReleaseRecord("default", 1, "1", ()))
    known = recall(made.loaded, made.plan, tmp_path / "a", applied)
    assert not known.passed and known.before == Passed()
    known.remember([identity(Problem("LIMIT_SHARE", "much", "figures"))])
    again = recall(made.loaded, made.plan, tmp_path / "a", applied)
    assert again.passed and identity(Problem("LIMIT_SHARE", "much", "other figures")) in again.before.warned
    assert not recall(made.loaded, made.plan, tmp_path / "a", new_record()).passed, "it was not applied yet"


def test_another_env_key_setting_or_file_is_another_shape() -> None:
    def shape(change: Any = lambda parts: None) -> dict[str, str]:
        made = subject(change)
        return shapes_of(made.loaded, made.plan, made.env)

    assert shape() == shape()
    assert shape(lambda parts: parts["env"].update(NEW="1")) != shape()
    assert shape(lambda parts: parts["context"].update({".env": "f"})) != shape()
    assert shape(lambda parts: parts["spec"].update(rules={"capacity": "strict"})) != shape()


def test_a_release_has_its_shape_without_the_others_too() -> None:
    made = subject(lambda parts: None)
    (release,) = made.plan.releases
    other = replace(release, name="other", images=())
    made.loaded.spec.releases["other"] = made.loaded.spec.releases[release.name]
    both = shapes_of(made.loaded, replace(made.plan, releases=(release, other)), made.env)
    one = shapes_of(made.loaded, made.plan, made.env)
    assert set(both) == {release.name, "other"} and one.items() <= both.items()
    none = shapes_of(made.loaded, replace(made.plan, releases=()), made.env)
    assert set(none) == {f"image {image.name}" for image in made.plan.images} and not none.items() <= both.items()


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    made = subject(lambda parts: None)
    for text in ("", "[]", '{"shapes": 1}', "null"):
        (tmp_path / "rules.json").write_text(text)
        assert recall(made.loaded, made.plan, tmp_path, new_record()).before == Passed()
