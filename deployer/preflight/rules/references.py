"""Rules on what pods refer to: every Secret, ConfigMap and key of them that a pod names must be there."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from deployer.core.ports import Object, ObjectRef
from deployer.env.parser import suggest
from deployer.plan import SecretPlan
from deployer.preflight.rules.model import Place, Subject, Violation, Workload, rule


@dataclass(frozen=True, slots=True)
class Reference:
    """A pod's reference to a Secret or ConfigMap, to one key of it or (empty) to all of it."""

    workload: Workload
    target: ObjectRef
    key: str = ""
    optional: bool = False


def references(workload: Workload) -> Iterator[Reference]:
    """Every reference of the workload's pods to a Secret or ConfigMap."""
    for container in workload.containers(init=True):
        for one in (*(container.get("env") or ()), *(container.get("envFrom") or ())):
            source = one.get("valueFrom") or one
            yield from _references(workload, "Secret", source.get("secretKeyRef") or source.get("secretRef"))
            yield from _references(workload, "ConfigMap", source.get("configMapKeyRef") or source.get("configMapRef"))
    for source in workload.volumes:
        yield from _references(workload, "Secret", source.get("secret"))
        yield from _references(workload, "ConfigMap", source.get("configMap"))


def _references(workload: Workload, kind: str, source: Object | None) -> Iterator[Reference]:
    name = (source or {}).get("secretName") or (source or {}).get("name")
    if source and name:
        target, optional = ObjectRef(kind, workload.namespace, str(name)), bool(source.get("optional"))
        keys = [item.get("key") for item in source.get("items") or ()] or [source.get("key")]
        yield from (Reference(workload, target, str(key or ""), optional) for key in keys)


def _needed(subject: Subject) -> Iterator[Reference]:
    """The references without which a pod does not start."""
    for workload in subject.workloads():
        yield from (one for one in references(workload) if not one.optional)


def unprovided(subject: Subject) -> tuple[ObjectRef, ...]:
    """The Secrets and ConfigMaps that pods need and that neither spec nor charts make; a cluster may have them."""
    provided = _provided(subject)
    return tuple(sorted({one.target for one in _needed(subject) if one.target not in provided}))


@rule("REFERENCE_MISSING", "error", "topology 000 Deployment; Kubernetes docs, Secrets",
      hint="correct the name in the template, or let the spec or a chart make the object")  # fmt: skip
def missing_objects(subject: Subject) -> Iterator[Violation]:
    """Every Secret and ConfigMap that a pod names is made by the spec or a chart, or is in the cluster."""
    provided = _provided(subject)
    present = subject.cluster.keys if subject.cluster is not None else {}
    reported: set[tuple[str, ObjectRef]] = set()
    for one in _needed(subject):
        known = (one.workload.label, one.target)
        if one.target not in provided and one.target not in present and known not in reported:
            reported.add(known)
            yield _missing_object(subject, one, provided)


@rule("REFERENCE_KEY_MISSING", "error", "topology 003 Environment Variable Mapping; Kubernetes docs, Secrets",
      hint="correct the key in the template, or add it where the object is made")  # fmt: skip
def missing_keys(subject: Subject) -> Iterator[Violation]:
    """Every key of a Secret or ConfigMap that a pod names exists."""
    keys = {**(subject.cluster.keys if subject.cluster is not None else {}), **_provided(subject)}
    for one in _needed(subject):
        if one.key and one.target in keys and one.key not in keys[one.target]:
            yield _missing_key(subject, one, keys[one.target])


@rule("ENV_KEY_NEAR_MISS", "warning", "topology 003 Secrets")
def near_misses(subject: Subject) -> Iterator[Violation]:
    """No key of an env file is a misspelling of one that is wanted."""
    spec = subject.loaded.spec
    taken = {source.source or key for secret in spec.secrets.values() for key, source in secret.keys.items()}
    switches = {one.when_set or one.when_unset or "" for one in spec.switches.values()}
    defaults = " ".join(one.default or "" for secret in spec.secrets.values() for one in secret.keys.values())
    for key, entry in subject.env.items():
        if key in taken | switches or f"{{{key}" in defaults:
            continue
        meant = suggest(key, taken)
        if meant is not None and not (subject.env.value(meant) or ""):
            yield Violation(
                f"nothing uses the env key `{key}`, and `{meant}` is not set",
                Place(where=entry.where),
                hints=(f"did you mean `{meant}`? rename the key, or remove the line",),
            )


def _provided(subject: Subject) -> dict[ObjectRef, frozenset[str]]:
    """What spec and charts make, with its keys."""
    made: dict[ObjectRef, frozenset[str]] = {}
    for one in subject.objects("Secret", "ConfigMap"):
        keys = {key for field in ("data", "stringData", "binaryData") for key in one.body.get(field) or ()}
        made[one.ref] = frozenset(keys)
    for secret in subject.plan.secrets:
        for name in filter(None, (secret.copy, secret.stable)):
            made[ObjectRef("Secret", secret.namespace, name)] = frozenset(secret.data)
    return made


def _missing_object(subject: Subject, one: Reference, provided: dict[ObjectRef, frozenset[str]]) -> Violation:
    kind, name = one.target.kind, one.target.name
    what = f"{kind} `{name}`" + (f" (for {one.key})" if one.key else "")
    same = [other.name for other in provided if (other.kind, other.namespace) == (kind, one.target.namespace)]
    close = difflib.get_close_matches(name, same, 1)
    elsewhere = sorted({other.namespace for other in provided if (other.kind, other.name) == (kind, name)})
    hints = [f"did you mean `{close[0]}`?"] if close else []
    if elsewhere:
        hints.append(f"it exists in namespace `{elsewhere[0]}`; a pod can only use those of its own namespace")
    secret = subject.loaded.spec.secrets.get(name) if kind == "Secret" else None
    if secret is not None and secret.naming == "hashed":
        hints.append(f"its name carries a hash: map it in releases.{one.workload.release.name}.secrets in the spec")
    elif secret is not None and secret.when is not None and not elsewhere:
        hints.append(f"the switch `{secret.when}` of the spec turns it off")
    elif kind == "Secret" and not close and not elsewhere:
        hints.append(f"add secrets.{name} to {subject.loaded.path.name}")
    return Violation(
        f"{one.workload.label} needs {what}, which does not exist",
        _place(one),
        f"neither the spec nor a chart makes it in namespace `{one.target.namespace}`",
        tuple(hints),
    )


def _missing_key(subject: Subject, one: Reference, has: frozenset[str]) -> Violation:
    kind, name, file = one.target.kind, one.target.name, subject.loaded.path.name
    title = f"{one.workload.label} needs {one.key} ({kind.lower()} {name}), which has no such key"
    mended = _secret_of(subject, one.target)
    near = suggest(one.key, subject.env)
    hints = []
    if one.key in subject.env:
        hints.append(f"{subject.env[one.key].where} has it: add `{one.key}: {{}}` to secrets.{mended}.keys in {file}")
    elif near is not None and near not in has:
        hints.append(f"{subject.env[near].where} has `{near}`: did you mean `{one.key}`?")
    elif close := suggest(one.key, has) or next(iter(difflib.get_close_matches(one.key, has, 1)), None):
        hints.append(f"did you mean `{close}`?")
    if not hints and mended:
        hints.append(f"add `{one.key}: {{}}` to secrets.{mended}.keys in {file} and a line {one.key}=… to the env file")
    place = _place(one)
    if mended:
        place = Place(place.release, place.object, spec=("secrets", mended, "keys"))
    return Violation(title, place, "its keys: " + (", ".join(sorted(has)) or "none"), tuple(hints))


def _secret_of(subject: Subject, target: ObjectRef) -> str:
    def is_it(secret: SecretPlan) -> bool:
        return target.kind == "Secret" and target.name in (secret.copy, secret.stable)

    return next((one.name for one in subject.plan.secrets if is_it(one)), "")


def _place(one: Reference) -> Place:
    return one.workload.place("secretEnv" if one.target.kind == "Secret" else "config")
