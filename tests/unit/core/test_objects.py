from __future__ import annotations

from typing import Any

import pytest

from deployer.core.objects import fitted, identified, well_formed

POD: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}},
    "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]},
    "status": {"containerStatuses": [{"name": "c", "restartCount": 3, "ready": True}], "unknown": [1, {"a": None}]},
}  # fmt: skip


def test_an_object_that_is_well_formed_stays_as_it_is() -> None:
    before = repr(POD)
    assert repr(well_formed(POD)) == before


def test_fields_of_another_type_are_missing_afterwards() -> None:
    body = {
        "metadata": {"name": 3, "labels": {"a": "b", "c": 1}, "uid": None, "ownerReferences": "none"},
        "spec": {"containers": ["text", {"name": "c", "image": ["i"], "ports": {"a": 1}}], "volumes": None},
        "status": {"containerStatuses": [{"restartCount": True, "name": "c"}], "phase": {"a": 1}},
    }
    assert well_formed(body, "Pod") == {
        "kind": "Pod", "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]},
        "status": {"containerStatuses": [{"name": "c"}]},
    }  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"metadata": None}, {"metadata": []}, {"kind": 3, "metadata": "x"}])
def test_there_is_metadata_always(body: dict[str, Any]) -> None:
    assert well_formed(dict(body)) == {"metadata": {}}


def test_a_rendered_object_keeps_what_is_wrong_in_it() -> None:
    spec = {"replicas": "2", "template": 3}
    body = {"kind": "Deployment", "metadata": {"name": 1, "labels": {"a": {}}}, "spec": spec}
    assert identified(body) == {"kind": "Deployment", "metadata": {"labels": {"a": {}}}, "spec": {"replicas": "2"}}


def test_any_map_can_be_fitted() -> None:
    assert fitted({"a": [int], "b": (int, str)}, {"a": [1, "x", None], "b": 1.5, "c": 2}) == {"a": [1], "c": 2}
