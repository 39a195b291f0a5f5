"""Changes of values in words."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.redact import KNOWN
from deployer.helm.storage import in_words, value_changes


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ("a.b: 1 → 2",)),
        ({}, {"a": {"tag": "x"}}, ("a",)),
        ({"a": None}, {"a": "web"}, ("a: none → web",)),
        (
            {"a": True, "b": "1", "c": "on"},
            {"a": False, "b": 1, "c": 1.5},
            ("a: true → false", 'b: "1" → 1', 'c: "on" → 1.5'),
        ),
        ({"a": [1]}, {"a": [2, 3]}, ("a",)),
        (
            {"a": [{"tag": "1.0.0-3f2a", "x": 1}]},
            {"a": [{"tag": "1.0.0-4b5c", "x": 1}]},
            ("a[0].tag: 1.0.0-3f2a → 1.0.0-4b5c",),
        ),
        ({"a": "x" * 40}, {"a": "y" * 40}, ("a",)),
        ({"app": {"apiKey": "old"}}, {"app": {"apiKey": "new"}}, ("app.apiKey",)),
        ({"db": {"password": {"x": 1}}}, {"db": {"password": {"x": 2}}}, ("db.password.x",)),
        ({"a": "of the-last-value"}, {"a": 1}, ("a: of ••• → 1",)),
        ({"b": 1, "a": 1}, {}, ("a: 1 → none", "b: 1 → none")),
    ],
)
def test_each_changed_path_is_reported_once(old: dict[str, Any], new: dict[str, Any], shown: tuple[str, ...]) -> None:
    KNOWN.learn(["the-last-value"])
    assert tuple(value_changes(old, new)) == shown


def test_words_name_the_first_and_count_the_rest() -> None:
    assert in_words(("a", "b", "c", "d")) == "a, b, c and 1 more"
    assert in_words(("a",), "chart files") == "chart files, a"
    assert in_words(()) == "inputs changed"
