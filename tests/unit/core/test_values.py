"""Nested maps are reached by dotted paths and laid over each other."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.values import overlaid, path_keys, set_at, value_at


def test_a_backslash_keeps_a_dot_within_a_key() -> None:
    assert path_keys(r"a.b\.c.d") == ["a", "b.c", "d"]
    values: dict[str, Any] = {}
    set_at(values, r"annotations.example\.org/x", 1)
    assert values == {"annotations": {"example.org/x": 1}}
    assert value_at(values, r"annotations.example\.org/x") == 1


def test_what_is_not_there_is_none() -> None:
    assert value_at({"a": {"b": 1}}, "a.c") is None
    assert value_at({"a": 1}, "a.b") is None


@pytest.mark.parametrize(("path", "blocked"), [("a.b.c", "a.b"), ("a.b.c.d", "a.b"), ("list.x", "list")])
def test_what_is_in_the_way_is_named(path: str, blocked: str) -> None:
    with pytest.raises(ValueError, match=f"cannot set `{path}`: `{blocked}` is not a mapping"):
        set_at({"a": {"b": "text"}, "list": []}, path, 1)


def test_maps_merge_and_all_else_replaces_and_nothing_is_shared() -> None:
    under, over = {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "d": {"e": None}}
    result = overlaid(under, over)
    assert result == {"a": {"b": 1, "c": [2]}, "d": {"e": None}}
    result["a"]["c"].append(3)
    assert over["a"] == {"c": [2]} and under["a"] == {"b": 1, "c": [1]}
