"""Rules on where things are and what they are called: namespaces, names, labels, charts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.preflight.rules.model import (
    Breach,
    Place,
    Rule,
    Subject,
    chart_folder,
    label_of,
    name_of,
    namespace_of,
    place_of,
)

_SEMVER = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def one_namespace(subject: Subject) -> Iterator[Breach]:
    """With `rules.layout.namespaces: one`: what is anywhere but in the spec's namespace."""
    spec = subject.loaded.spec
    if spec.rules.layout.namespaces != "one":
        return
    for one in subject.releases:
        for body in one.objects:
            if namespace_of(one.release, body) != spec.namespace:
                title = (
                    f"{label_of(body)} is in namespace `{namespace_of(one.release, body)}`, not in `{spec.namespace}`"
                )
                yield Breach(title, place_of(one.release.name, body))
    for secret in subject.plan.secrets:
        if secret.namespace != spec.namespace:
            title = f"secret `{secret.name}` is in namespace `{secret.namespace}`, not in `{spec.namespace}`"
            yield Breach(title, Place(spec=("secrets", secret.name, "namespace")))


def unknown_namespace(subject: Subject) -> Iterator[Breach]:
    """Objects in namespaces that neither the plan nor a chart makes."""
    made = {*subject.plan.namespaces, "default", "kube-system"}
    made |= {name_of(body) for _, body in subject.objects("Namespace")}
    told: set[str] = set()
    for one in subject.releases:
        for body in one.objects:
            namespace = namespace_of(one.release, body)
            if namespace not in made and namespace not in told:
                told.add(namespace)
                title = f"{label_of(body)} is in namespace `{namespace}`, which nothing of the spec makes"
                yield Breach(title, place_of(one.release.name, body))


def component_prefix(subject: Subject) -> Iterator[Breach]:
    """With `rules.layout.names: component`: names that do not begin with their component."""
    if subject.loaded.spec.rules.layout.names != "component":
        return
    for one in subject.releases:
        for body in one.objects:
            component = ((body.get("metadata") or {}).get("labels") or {}).get("app")
            name = name_of(body)
            if component and name != component and not name.startswith(f"{component}-"):
                yield Breach(f"{label_of(body)} belongs to `{component}`, and its name does not begin with it",
                             place_of(one.release.name, body, "name"))  # fmt: skip


def labels(subject: Subject) -> Iterator[Breach]:
    """With `rules.layout.labels`: workloads without one of them."""
    wanted = subject.loaded.spec.rules.layout.labels
    for workload in subject.workloads():
        has = (workload.body.get("metadata") or {}).get("labels") or {}
        absent = [label for label in wanted if label not in has]
        if absent and workload.runs_on:
            title = f"{workload.label} has no label {', '.join(f'`{label}`' for label in absent)}"
            yield Breach(title, place_of(workload.release, workload.body, "labels"))


def chart_version(subject: Subject) -> Iterator[Breach]:
    """Charts whose version is no semantic version: Helm wants one."""
    yield from _no_version(subject, "version")


def chart_app_version(subject: Subject) -> Iterator[Breach]:
    """Charts whose appVersion is no semantic version; Helm itself takes any text, and none."""
    yield from _no_version(subject, "appVersion")


def _no_version(subject: Subject, field: str) -> Iterator[Breach]:
    for one in subject.releases:
        value = one.chart.get(field)
        if one.chart and (value is not None or field == "version") and not _SEMVER.fullmatch(str(value)):
            told = f"`{value}` is not X.Y.Z" if value is not None else "there is none"
            yield Breach(f"chart of release `{one.release.name}`: {field}: {told}", _chart(subject, one.release.name))


def chart_maintainers(subject: Subject) -> Iterator[Breach]:
    """Charts that name nobody who looks after them."""
    for one in subject.releases:
        if one.chart and not one.chart.get("maintainers"):
            yield Breach(
                f"chart of release `{one.release.name}` names no maintainers", _chart(subject, one.release.name)
            )


def _chart(subject: Subject, release: str) -> Place:
    path = chart_folder(subject, release) / "Chart.yaml"
    root = subject.loaded.root
    return Place(release, where=str(path.relative_to(root)) if path.is_relative_to(root) else str(path))


RULES = (
    Rule("NAMESPACE", "S2 Validation Rules (everything in `todo`)", "error",
         "With rules.layout.namespaces: one, everything is in the spec's namespace.", one_namespace),
    Rule("NAMESPACE_UNKNOWN", "Kubernetes docs, Namespaces", "error",
         "Every object is in a namespace that exists or is made.", unknown_namespace),
    Rule("COMPONENT_PREFIX", "S3 ConfigMap/Secret Constraints (Naming)", "error",
         "With rules.layout.names: component, names begin with their component.", component_prefix),
    Rule("LABELS", "S3 Resource Definitions (app, tier, phase)", "error",
         "With rules.layout.labels, every workload has these labels.", labels),
    Rule("CHART_VERSION", "S0 Helm Chart; S1 Helm Chart", "error",
         "The version of charts is a semantic version.", chart_version),
    Rule("CHART_APP_VERSION", "S0 Helm Chart; S1 Helm Chart", "warning",
         "The appVersion of charts, where they have one, is a semantic version.", chart_app_version),
    Rule("CHART_MAINTAINERS", "S1 Helm Chart", "warning", "Charts name their maintainers.", chart_maintainers),
)  # fmt: skip
