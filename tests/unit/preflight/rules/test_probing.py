"""Values that no template uses, and what is rendered again at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deployer.config.spec import Release
from deployer.core.values import value_at
from deployer.plan import ReleasePlan
from deployer.preflight.rules.containers import mapped_values, verbatim, with_others, without_tags

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
    assert set(found) == {"api.image", "api.a\\.b", "api.registry", "sums.s", "name"}
    assert all(one.value != one.other for one in found.values())
    assert set(found["sums.s"].other) == {"KEY"}
    assert found["api.image"].location == ("releases", "shop", "images", "api", "api.image")


def test_values_are_replaced_at_their_paths_alone() -> None:
    mapped = mapped_values("shop", SPEC, PLAN)
    changed = with_others(VALUES, mapped)
    assert all(value_at(changed, one.path) == one.other for one in mapped)
    assert VALUES["api"]["a.b"] == "1.0.0-0123456789ab"
    assert VALUES["api"]["registry"] == ""


def test_a_text_is_looked_for_everywhere() -> None:
    objects = [{"kind": "Deployment", "spec": {"containers": [{"image": "shop:1.0.0-0123456789ab"}]}}]
    assert verbatim("1.0.0-0123456789ab", objects)
    assert not verbatim("1.0.0-ffffffffffff", objects)
    assert not verbatim("", objects)


def test_the_shape_does_not_know_tags() -> None:
    one = without_tags(PLAN, SPEC, {"api": "1.0.0-0123456789ab"})
    assert one["api"] == {"image": "shop:TAG", "a.b": "TAG", "registry": ""}
