"""Applying the rules: every violation becomes a finding at its place, and waivers take away what they name."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.config.load import LoadedSpec, chart_folder
from deployer.config.rules import Rules, Waiver
from deployer.core.errors import Problem
from deployer.core.reading import Malformed, read_text
from deployer.core.text import did_you_mean
from deployer.core.yaml import Location, parse_texts
from deployer.preflight.rules import (
    capacity,
    configuration,
    containers,
    project,
    quotas,
    services,
    values,
    workloads,
)
from deployer.preflight.rules.model import Finding, Place, Rule, Severity, Subject, Tier, Violation, is_for_later

_MODULES = (project, values, containers, services, workloads, configuration, capacity, quotas)
RULES = tuple(one for module in _MODULES for one in vars(module).values() if isinstance(one, Rule))
"""Every rule, in the order in which findings are reported."""

RULE_SKIPPED = "RULE_SKIPPED"
WAIVER_UNUSED = "WAIVER_UNUSED"
WAIVER_UNKNOWN = "WAIVER_UNKNOWN"
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


_SEVERITIES: dict[Tier, Severity] = {"certain": "error", "policy": "warning", "advice": "warning"}
_NAMED = 5


def judge(subject: Subject, rules: Sequence[Rule] = RULES, *, partly: bool = False) -> tuple[Finding, ...]:
    """What the rules find and no waiver takes away, errors first.

    `partly`: only some of the releases were looked at, so a waiver that takes nothing away is no news.
    """
    later = {one.label for one in subject.objects() if is_for_later(one.body)}
    later -= {one.label for one in subject.objects() if not is_for_later(one.body)}
    found = [one for rule in rules for one in _found(rule, subject, later)]
    waivers = _waivers(subject.loaded.spec.rules)
    left = [one for one in found if not any(_takes(waiver, one) for _, waiver in waivers)]
    left += _about_waivers(subject.loaded, waivers, found, rules, partly=partly)
    return tuple(sorted(left, key=lambda one: _ORDER.index(one.severity)))


def errors(findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """The problems that forbid an `up`."""
    return tuple(one.problem for one in findings if one.severity == "error")


def advice(findings: Iterable[Finding]) -> tuple[Problem, ...]:
    """The problems that do not."""
    return tuple(one.problem for one in findings if one.severity == "warning")


def summary(advice: Sequence[Problem]) -> str:
    """One line that names the rules that advise something, the most frequent first; empty where none does."""
    counts = Counter(one.code for one in advice).most_common()
    names = [code if number == 1 else f"{code} ({number})" for code, number in counts]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"advice (todo-deploy validate -v): {', '.join([*names[:_NAMED], *more])}" if names else ""


def _found(rule: Rule, subject: Subject, later: Collection[str]) -> Iterator[Finding]:
    """The rule's findings; what is certain of objects that Helm does not look at yet (`later`) is a warning.

    Where an object has not the shape that Kubernetes wants, the API server will say so.
    """
    try:
        found = [_finding(rule, violation, subject.loaded) for violation in rule.check(subject)]
        for one in found:
            wait = rule.tier == "certain" and one.severity == "error" and one.object in later
            yield replace(one, severity="warning") if wait else one
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        title = f"the rule {rule.name} could not be applied: an object does not have the fields of its kind"
        hints = ("helm template CHART | kubectl apply --dry-run=server -f - shows what the API server refuses",)
        problem = Problem(RULE_SKIPPED, title, f"{type(error).__name__}: {error}", subject.loaded.path.name, hints)
        yield Finding(RULE_SKIPPED, "warning", problem)


def _finding(rule: Rule, violation: Violation, loaded: LoadedSpec) -> Finding:
    hints = violation.hints or tuple(filter(None, (rule.hint,)))
    problem = Problem(rule.name, violation.title, violation.detail, locate(violation.place, loaded), hints)
    forbidden = rule.tier == "policy" and loaded.spec.rules.policy == "strict"
    severity = violation.severity or ("error" if forbidden else _SEVERITIES[rule.tier])
    return Finding(rule.name, severity, problem, violation.place.object)


def _waivers(rules: Rules) -> list[tuple[Location, Waiver]]:
    """Every waiver of the spec, and where it is."""
    found: list[tuple[Location, Waiver]] = [(("rules", "waive", at), one) for at, one in enumerate(rules.waive)]
    return found + [(("rules", "allow", at), Waiver(rule=name, reason="")) for at, name in enumerate(rules.allow)]


def _takes(waiver: Waiver, one: Finding) -> bool:
    if waiver.rule != one.rule:
        return False
    return not waiver.objects or any(fnmatch.fnmatchcase(one.object, pattern) for pattern in waiver.objects)


def _about_waivers(
    loaded: LoadedSpec,
    waivers: Sequence[tuple[Location, Waiver]],
    found: Sequence[Finding],
    rules: Sequence[Rule],
    *,
    partly: bool,
) -> Iterator[Finding]:
    known = [rule.name for rule in rules]
    for location, waiver in waivers:
        where = str(loaded.origin(*location))
        if waiver.rule not in known:
            hints = did_you_mean(waiver.rule.upper().replace("-", "_"), known) or ("todo-deploy validate --rules",)
            problem = Problem(WAIVER_UNKNOWN, f"there is no rule `{waiver.rule}` to waive", where=where, hints=hints)
            yield Finding(WAIVER_UNKNOWN, "warning", problem)
        elif not partly and not any(_takes(waiver, one) for one in found):
            of = f" for {', '.join(waiver.objects)}" if waiver.objects else ""
            problem = Problem(WAIVER_UNUSED, f"nothing violates the waived rule {waiver.rule}{of}", where=where,
                              hints=("remove the waiver",))  # fmt: skip
            yield Finding(WAIVER_UNUSED, "warning", problem)


def locate(place: Place, loaded: LoadedSpec) -> str:
    """The line that decides it: in the spec where it is written there, else in the chart's values, else the object."""
    if place.where:
        return place.where
    if place.spec:
        return str(loaded.origin(*place.spec))
    if not place.release:
        return loaded.path.name
    for name in (*place.names, None):
        at = ("releases", place.release, "values", *((name,) if name is not None else ()), *place.path)
        for depth in range(len(at), 3, -1):
            if at[:depth] in loaded.origins:
                return str(loaded.origins[at[:depth]])
    if loaded.spec.releases[place.release].is_remote:
        return str(loaded.origin("releases", place.release, "chart"))
    chart = chart_folder(loaded.root, loaded.spec.releases[place.release].chart)
    shown = loaded.shown(chart)
    line = _values_line(chart / "values.yaml", place)
    return f"{shown}/values.yaml:{line}" if line else f"{place.object} of chart {shown}" if place.object else shown


def _values_line(values: Path, place: Place) -> int:
    """The line of the chart's values that decides it, below the component's key or at the top; 0 where none does."""
    if not place.path:
        return 0
    try:
        lines = parse_texts(read_text(values)).lines
    except (OSError, Malformed):
        return 0
    for at in (*((name, *place.path) for name in place.names), place.path):
        for depth in range(len(at), 0, -1):
            if at[:depth] in lines:
                return lines[at[:depth]]
    return 0
