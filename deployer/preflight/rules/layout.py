"""Rules on where things are and how they are named: namespaces, names, labels, charts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.preflight.rules.model import Place, Subject, Violation, rule

_SEMVER = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@rule("NAMESPACE", "error", "topology 002 Validation Rules (everything in `todo`)",
      hint="leave metadata.namespace out of the template")  # fmt: skip
def one_namespace(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.namespaces: one, everything is in the spec's namespace."""
    spec = subject.loaded.spec
    if spec.rules.layout.namespaces != "one":
        return
    places = [(one.label, one.namespace, one.place()) for one in subject.objects()]
    places += [
        (f"secret `{one.name}`", one.namespace, Place(spec=("secrets", one.name, "namespace")))
        for one in subject.plan.secrets
    ]
    for label, namespace, place in places:
        if namespace != spec.namespace:
            yield Violation(f"{label} is in namespace `{namespace}`, not in `{spec.namespace}`", place)


@rule("NAMESPACE_UNKNOWN", "error", "Kubernetes docs, Namespaces",
      hint="leave metadata.namespace out of the template, or make it the namespace of a release")  # fmt: skip
def unknown_namespace(subject: Subject) -> Iterator[Violation]:
    """Every object is in a namespace that exists or is made."""
    known = {*subject.plan.namespaces, "default", "kube-system"}
    known |= {one.name for one in subject.objects("Namespace")}
    for one in subject.objects():
        if one.namespace not in known:
            known.add(one.namespace)
            title = f"{one.label} is in namespace `{one.namespace}`, which neither the spec nor a chart makes"
            yield Violation(title, one.place())


@rule("COMPONENT_PREFIX", "error", "topology 003 ConfigMap/Secret Constraints (Naming)",
      hint="rename the object, or leave rules.layout.names out of the spec")  # fmt: skip
def component_prefix(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.names: component, names begin with their component."""
    if subject.loaded.spec.rules.layout.names != "component":
        return
    for one in subject.objects():
        component = one.labels.get("app")
        if component and one.name != component and not one.name.startswith(f"{component}-"):
            title = f"{one.label} has the label app={component}, and its name does not begin with `{component}-`"
            yield Violation(title, one.place("name"))


@rule("LABELS", "error", "topology 003 Resource Definitions (app, tier, phase)",
      hint="add the label in the template, or leave it out of rules.layout.labels")  # fmt: skip
def labels(subject: Subject) -> Iterator[Violation]:
    """With rules.layout.labels, every workload has these labels."""
    for workload in subject.workloads():
        absent = [label for label in subject.loaded.spec.rules.layout.labels if label not in workload.labels]
        if absent and workload.runs_on:
            title = f"{workload.label} has no label {', '.join(f'`{label}`' for label in absent)}"
            yield Violation(title, workload.place("labels"))


@rule("CHART_VERSION", "error", "topology 000 Helm Chart; topology 001 Helm Chart", hint="version: 0.1.0 in Chart.yaml")
def chart_version(subject: Subject) -> Iterator[Violation]:
    """The version of charts is a semantic version."""
    yield from _no_version(subject, "version")


@rule("CHART_APP_VERSION", "warning", "topology 000 Helm Chart; topology 001 Helm Chart",
      hint='appVersion: "1.0.0" in Chart.yaml')  # fmt: skip
def chart_app_version(subject: Subject) -> Iterator[Violation]:
    """The appVersion of charts, where they have one, is a semantic version."""
    yield from _no_version(subject, "appVersion")


@rule("CHART_MAINTAINERS", "warning", "topology 001 Helm Chart", hint="add maintainers: [{name: …}] to Chart.yaml")
def chart_maintainers(subject: Subject) -> Iterator[Violation]:
    """Charts name their maintainers."""
    for one in subject.releases:
        if one.chart and not one.chart.get("maintainers"):
            title = f"the chart of release `{one.release.name}` has no maintainers"
            yield Violation(title, _chart(subject, one.release.name))


def _no_version(subject: Subject, field: str) -> Iterator[Violation]:
    for one in subject.releases:
        value = one.chart.get(field)
        if one.chart and (value is not None or field == "version") and not _SEMVER.fullmatch(str(value)):
            what = f"{field} `{value}` is not X.Y.Z" if value is not None else f"{field} is missing"
            yield Violation(f"the chart of release `{one.release.name}`: {what}", _chart(subject, one.release.name))


def _chart(subject: Subject, release: str) -> Place:
    chart = subject.loaded.root / subject.loaded.spec.releases[release].chart  # the plan's is a staged copy
    return Place(release, where=subject.shown(chart / "Chart.yaml"))
