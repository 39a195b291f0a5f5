"""Values that no template uses, and what is rendered again at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.config.spec import Release
from deployer.core.errors import Problem
from deployer.core.values import value_at
from deployer.plan import ReleasePlan
from deployer.preflight.rules.probing import mapped_values, verbatim, with_others, without_tags
from deployer.preflight import passed
from tests.unit.preflight.rules.subjects import subject

SPEC = Release.model_validate(
    {
        "chart": "c",
        "images": {
            "api": {"api.image": "{ref}", "api.a\\.b": "{tag}", "api.registry": "{registry}"},
            "off": {"x": "{tag}"},
        },
        "secrets": {"s": {"sums.s": "{checksums}", "name": "{name}"}},
    }
)  # fmt: skip
VALUES: dict[str, Any] = {
    "api": {"image": "shop:1.0.0-0123456789ab", "a.b": "1.0.0-0123456789ab", "registry": ""},
    "sums": {"s": {"KEY": "0123456789abcdef"}},
    "name": "s-1",
}
PLAN = ReleasePlan("shop", "default", Path("c"), VALUES, "1", ("api",), ("s",), (), 60.0)


def test_every_mapped_value_has_another_to_try() -> None:
    found = {one.path: one for one in mapped_values("shop", SPEC, PLAN)}
    assert set(found) == {"api.image", "api.a\\.b", "sums.s", "name"}
    assert all(one.value != one.other for one in found.values())
    assert set(found["sums.s"].other) == {"KEY"}
    assert found["api.image"].location == ("releases", "shop", "images", "api", "api.image")


def test_values_are_replaced_at_their_paths_alone() -> None:
    mapped = mapped_values("shop", SPEC, PLAN)
    changed = with_others(VALUES, mapped)
    assert all(value_at(changed, one.path) == one.other for one in mapped)
    assert VALUES["api"]["a.b"] == "1.0.0-0123456789ab"
    assert changed["api"]["registry"] == ""


def test_a_text_is_looked_for_everywhere() -> None:
    objects = [{"kind": "Deployment", "spec": {"containers": [{"image": "shop:1.0.0-0123456789ab"}]}}]
    assert verbatim("1.0.0-0123456789ab", objects)
    assert not verbatim("1.0.0-ffffffffffff", objects)
    assert not verbatim("", objects)


def test_the_shape_does_not_know_tags() -> None:
    one = without_tags(PLAN, SPEC, {"api": "1.0.0-0123456789ab"})
    assert one["api"] == {"image": "shop:TAG", "a.b": "TAG", "registry": ""}


def test_the_same_shape_is_not_asked_again_and_the_same_warning_not_told(tmp_path: Path) -> None:
    made = subject()
    shape = passed.shape_of(made.loaded, made.plan, made.env)
    warning = Problem("LIMIT_SHARE", "much", "figures")
    path = tmp_path / "a" / "rules.json"
    assert passed.recall(path) == passed.Passed()
    passed.remember(path, passed.passing(shape, [warning]))
    again = passed.recall(path)
    assert again.shape == passed.shape_of(made.loaded, made.plan, made.env)
    assert passed.untold([warning, Problem("OTHER", "new")], again) == (Problem("OTHER", "new"),)


def test_another_env_key_setting_or_file_is_another_shape() -> None:
    def shape(change: Any = lambda parts: None) -> str:
        made = subject(change)
        return passed.shape_of(made.loaded, made.plan, made.env)

    assert shape() == shape()
    assert shape(lambda parts: parts["env"].update(NEW="1")) != shape()
    assert shape(lambda parts: parts["context"].update({".env": "f"})) != shape()
    assert shape(lambda parts: parts["spec"].update(rules={"capacity": "strict"})) != shape()


def test_a_damaged_memory_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    for text in ("", "[]", '{"shape": 1}', "null"):
        path.write_text(text)
        assert passed.recall(path) == passed.Passed()
