"""Rules that charts of other people break without being broken: the draft waives them, each where it was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deployer.init.model import Draft
from deployer.preflight.rules.model import Finding

REASON = "the charts are deployed as they were found"
# What Kubernetes runs all the same; what it would refuse, or what would not work, is left to be mended.
TOLERATED = frozenset({
    "CONFIG_KEY_NAME", "CONFIG_SECRET", "LIMITS_MISSING", "LIVENESS_MISSING", "READINESS_MISSING", "REPLICAS",
    "REQUESTS_MISSING", "RUNS_AS_ROOT", "TAG_LATEST",
})  # fmt: skip


def with_waivers(draft: Draft, findings: Sequence[Finding]) -> Draft:
    """The draft that waives what can be tolerated of these findings, for the objects where it was found."""
    places: dict[str, list[str]] = {}
    for one in findings:
        if one.severity == "error" and one.rule in TOLERATED:
            places.setdefault(one.rule, []).append(one.object)
    if not places:
        return draft
    waive: list[dict[str, Any]] = []
    for rule, objects in places.items():
        known = sorted(set(filter(None, objects)))
        waive.append({"rule": rule, "reason": REASON} | ({"objects": known} if known else {}))
    comment = "guessed: rules that the charts break; mend them there, or say here why they may"
    document = {**draft.document, "rules": {"waive": waive}}
    return replace(draft, document=document, comments={**draft.comments, ("rules", "waive"): comment})


def unmended(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The errors that no waiver of a draft takes away."""
    return tuple(one for one in findings if one.severity == "error" and one.rule not in TOLERATED)
