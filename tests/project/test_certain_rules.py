"""A rule is certain only where the real cluster refuses the same object (tests/contract/test_certain_rules.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core.ports import Object
from deployer.preflight.rules.judging import RULES, judge
from deployer.preflight.rules.model import Machine, NotBuilt, Subject
from tests.contract.certain_rules import BUILT, MISLED, OWN, TABLE, UNREACHABLE, Refusal
from tests.unit.preflight.rules.subjects import Change, cluster, good_objects, subject


def breaking(row: Refusal) -> Change:
    """The row's objects alone, in an application without URLs on a new Minikube."""

    def before(kind: str, namespace: str = "default") -> tuple[Object, ...]:
        those = (one for one in row.before if one["kind"] == kind)
        return tuple({**one, "metadata": {"namespace": namespace, **one["metadata"]}} for one in those)

    def change(parts: dict[str, Any]) -> None:
        parts["spec"].update(urls={}, cluster={})
        parts.update(dict.fromkeys(good_objects(), None))
        parts.update({f"row{at}": body for at, body in enumerate(row.objects)})
        parts["more"] = [f"row{at}" for at in range(len(row.objects))]
        parts["machine"] = Machine(image_users={"api": "node"}, undeliverable={UNREACHABLE: "registry.invalid"})
        location = ("releases", "shop", "images", "api", "api.tag")
        if row.rule == "IMAGE_NOT_BUILT":  # found by rendering with other values
            parts["not_built"] = (NotBuilt(location, "deployment/probe", MISLED, BUILT),)
        parts["cluster"] = cluster(
            services=before("Service", "theirs"), quotas=before("ResourceQuota"), limit_ranges=before("LimitRange"),
            storage_classes=frozenset({"standard", ""}), kinds=frozenset({("v1", "ConfigMap")}),
        )  # fmt: skip

    return change


def broken(row: Refusal) -> Subject:
    """What the rules look at: with several objects for helm, each in a release of its own."""
    made = subject(breaking(row))
    (one,) = made.releases
    if row.by != "helm" or len(one.objects) < 2:
        return made
    releases = (replace(one, release=replace(one.release, name=f"r{at}"), objects=(body,))
                for at, body in enumerate(one.objects))  # fmt: skip
    return replace(made, releases=tuple(releases))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.rule}-{row.words}")
def test_the_rule_refuses_what_the_cluster_refuses(row: Refusal) -> None:
    found = judge(broken(row))
    assert row.rule in {one.rule for one in found if one.severity == "error"}, [one.problem for one in found]


def test_every_certain_rule_stands_beside_a_refusal_or_is_about_the_spec_itself() -> None:
    certain = {rule.name for rule in RULES if rule.tier == "certain"}
    shown = {row.rule for row in TABLE}
    assert certain == shown | OWN.keys()
    assert not shown & OWN.keys()
