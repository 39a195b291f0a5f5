"""Nested maps are reached by dotted paths and laid over each other."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.values import dotted, list_of, overlaid, path_keys, set_at, value_at


def test_a_backslash_keeps_a_dot_within_a_key() -> None:
    assert path_keys(r"a.b\.c.d") == ["a", "b.c", "d"]
    values: dict[str, Any] = {}
    set_at(values, r"annotations.example\.org/x", 1)
    assert values == {"annotations": {"example.org/x": 1}}
    assert value_at(values, r"annotations.example\.org/x") == 1


def test_what_is_not_there_is_none() -> None:
    assert value_at({"a": {"b": 1}}, "a.c") is None
    assert value_at({"a": 1}, "a.b") is None


@pytest.mark.parametrize(("path", "blocked"), [("a.b.c", "a.b"), ("a.b.c.d", "a.b")])
def test_what_is_in_the_way_is_named(path: str, blocked: str) -> None:
    with pytest.raises(ValueError, match=f"cannot set `{path}`: `{blocked}` is not a mapping"):
        set_at({"a": {"b": "text"}}, path, 1)


def test_a_path_goes_into_a_list_by_index_or_by_an_items_name() -> None:
    values: dict[str, Any] = {"services": [{"name": "front", "image": {"tag": "1"}}, {"name": "back"}], "plain": ["a"]}
    set_at(values, "services[0].image.tag", "2")
    set_at(values, "services[back].image.tag", "3")
    set_at(values, "services[2].image", "new")
    set_at(values, "plain[0]", "b")
    set_at(values, "fresh[0][0].x", 1)
    assert values["services"][:2] == [{"name": "front", "image": {"tag": "2"}}, {"name": "back", "image": {"tag": "3"}}]
    assert (values["services"][2], values["plain"], values["fresh"]) == ({"image": "new"}, ["b"], [[{"x": 1}]])
    assert value_at(values, "services[back].image.tag") == value_at(values, "services[1].image.tag") == "3"
    assert value_at(values, "services[9].image") is value_at(values, "plain.x") is value_at(values, "a[0]") is None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("list.x", r"`list` is a list: write `\[0\]`"),
        ("list.0.x", r"`list` is a list: write `\[0\]`"),
        ("list.front.x", r"`list` is a list: write `\[front\]`"),
        ("list[5].x", "`list` has 1 items"),
        ("list[nobody].x", "no item with the name `nobody`; it has: front"),
        ("a[0]", "`a` is not a list"),
    ],
)
def test_what_a_list_does_not_have_is_named(path: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        set_at({"a": {"b": "text"}, "list": [{"name": "front"}]}, path, 1)


def test_the_list_of_a_path_and_a_path_of_keys() -> None:
    assert [list_of(path) for path in (r"a.x\.y[0].b[1]", "a.b", "c[front]")] == [r"a.x\.y", "", "c"]
    assert dotted(["a", "x.y", 0, "b"]) == r"a.x\.y[0].b"


def test_maps_merge_and_all_else_replaces_and_nothing_is_shared() -> None:
    under, over = {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "d": {"e": None}}
    result = overlaid(under, over)
    assert result == {"a": {"b": 1, "c": [2]}, "d": {"e": None}}
    result["a"]["c"].append(3)
    assert over["a"] == {"c": [2]} and under["a"] == {"b": 1, "c": [1]}
