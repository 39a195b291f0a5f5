"""Rules on ConfigMaps, Secrets and volume claims."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from deployer.config.spec import mebibytes
from deployer.core.ports import Object, ObjectRef
from deployer.core.reading import kind_of
from deployer.core.text import did_you_mean
from deployer.plan import SecretPlan
from deployer.preflight.rules.capacity import quantity, shown
from deployer.preflight.rules.model import (
    Manifest,
    Place,
    Severity,
    Subject,
    Violation,
    Workload,
    is_custom,
    rule,
    texts_of,
    workload_of,
)
from deployer.preflight.rules.workloads import pods_of, surge_of
from deployer.sources.dotenv import suggest
from deployer.sources.env_files import is_telling
from deployer.status.objects import dig, is_default_class

_WRITING = {"create", "update", "patch", "*"}
# What Kubernetes fills in by itself (Kubernetes docs, Secrets: types).
_FILLED = {"kubernetes.io/service-account-token": frozenset({"token", "ca.crt", "namespace"})}


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
    for source in workload.sources:
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
    """The Secrets and ConfigMaps of which pods need what neither spec nor charts make; a cluster may have it."""
    provided = _provided(subject)
    return tuple(sorted({one.target for one in _needed(subject) if _lacks(one, provided)}))


def _lacks(one: Reference, keys: Mapping[ObjectRef, frozenset[str]]) -> bool:
    """Whether the object, or the key of it, is not among those."""
    return one.target not in keys or bool(one.key and one.key not in keys[one.target])


def _doubt(subject: Subject, one: Reference) -> Severity | None:
    """A warning where the pod may start all the same, or something that is deployed may make what it needs."""
    certain = one.workload.starts and subject.sees_cluster and not _may_come(subject, one.target)
    return None if certain else "warning"


def _may_come(subject: Subject, target: ObjectRef) -> bool:
    """Whether a controller, a Job or an annotation may make or fill the Secret or ConfigMap once all is deployed."""
    roles = {one.name for one in subject.objects("Role", "ClusterRole")}
    for one in subject.objects():
        if is_custom(one.body) or _makes(one, target.kind) or _is_granted_elsewhere(one, roles, target):
            return True
        if one.ref == target:
            if not _keys(one):  # an empty one is there to be filled
                return True
        elif workload_of(one.release, one.body) is None and target.name in texts_of(one.body):
            return True  # such as an Ingress whose certificate cert-manager puts there
    return False


def _is_granted_elsewhere(binding: Manifest, roles: Collection[str], target: ObjectRef) -> bool:
    """Whether it binds a role that no chart makes, such as `edit` or `cluster-admin`, where the object is to be."""
    name = str((binding.body.get("roleRef") or {}).get("name") or "")
    if name in (*roles, "view", "") or name.startswith("system:"):
        return False
    inside = binding.kind == "RoleBinding" and binding.namespace == target.namespace
    return inside or binding.kind == "ClusterRoleBinding"


def _makes(role: Manifest, kind: str) -> bool:
    """Whether the role lets its owners make or fill objects of the kind."""
    if role.kind not in ("Role", "ClusterRole"):
        return False
    plural = {"Secret": "secrets", "ConfigMap": "configmaps"}[kind]
    return any(
        {plural, "*"} & set(one.get("resources") or ()) and _WRITING & set(one.get("verbs") or ())
        for one in role.body.get("rules") or ()
    )


@rule("REFERENCE_MISSING", "certain", "topology 000 Deployment; Kubernetes docs, Secrets",
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
            yield replace(_missing_object(subject, one, provided), severity=_doubt(subject, one))


@rule("REFERENCE_KEY_MISSING", "certain", "topology 003 Environment Variable Mapping; Kubernetes docs, Secrets",
      hint="correct the key in the template, or add it where the object is made")  # fmt: skip
def missing_keys(subject: Subject) -> Iterator[Violation]:
    """Every key of a Secret or ConfigMap that a pod names exists."""
    present, keys = subject.cluster.keys if subject.cluster is not None else {}, _provided(subject)
    for target, more in present.items():
        keys[target] = keys.get(target, frozenset()) | more
    for one in _needed(subject):
        if one.target in keys and _lacks(one, keys):
            yield replace(_missing_key(subject, one, keys[one.target]), severity=_doubt(subject, one))


@rule("ENV_KEY_NEAR_MISS", "advice", "topology 003 Secrets")
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
    made = {one.ref: _keys(one) | _FILLED.get(str(one.body.get("type")), frozenset())
            for one in subject.objects("Secret", "ConfigMap")}  # fmt: skip
    for workload in subject.workloads():
        made[ObjectRef("ConfigMap", workload.namespace, "kube-root-ca.crt")] = frozenset({"ca.crt"})
    for secret in subject.plan.secrets:
        for name in filter(None, (secret.copy, secret.stable)):
            made[ObjectRef("Secret", secret.namespace, name)] = frozenset(secret.data)
    return made


def _keys(one: Manifest) -> frozenset[str]:
    return frozenset(str(key) for field in ("data", "stringData", "binaryData") for key in one.body.get(field) or ())


def _missing_object(subject: Subject, one: Reference, provided: dict[ObjectRef, frozenset[str]]) -> Violation:
    kind, name = one.target.kind, one.target.name
    what = f"{kind} `{name}`" + (f" (for {one.key})" if one.key else "")
    same = [other.name for other in provided if (other.kind, other.namespace) == (kind, one.target.namespace)]
    elsewhere = sorted({other.namespace for other in provided if (other.kind, other.name) == (kind, name)})
    hints = [*did_you_mean(name, same)]
    if elsewhere:
        hints.append(f"it exists in namespace `{elsewhere[0]}`; a pod can only use those of its own namespace")
    secret = subject.loaded.spec.secrets.get(name) if kind == "Secret" else None
    if secret is not None and secret.naming == "hashed":
        hints.append(f"its name carries a hash: map it in releases.{one.workload.release.name}.secrets in the spec")
    elif secret is not None and secret.when is not None and not elsewhere:
        hints.append(f"the switch `{secret.when}` of the spec turns it off")
    elif kind == "Secret" and not hints:
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
    hints: list[str] = []
    if one.key in subject.env:
        hints.append(f"{subject.env[one.key].where} has it: add `{one.key}: {{}}` to secrets.{mended}.keys in {file}")
    elif near is not None and near not in has:
        hints.append(f"{subject.env[near].where} has `{near}`: did you mean `{one.key}`?")
    elif close := suggest(one.key, has):
        hints.append(f"did you mean `{close}`?")
    else:
        hints += did_you_mean(one.key, has)
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


_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off"})
_SECRET_KEY = re.compile(
    r"(PASS(WORD|WD|PHRASE)|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)S?$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|^sk-[A-Za-z0-9_-]{16,}$|^gh[pousr]_[A-Za-z0-9]{20,}$|^AKIA[A-Z0-9]{16}$|"
    r"^eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|://[^/\s:@]*:[^/\s@]+@"
)
_ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"
_NAME_ONE = "storageClassName: one that the cluster has"
_MAKE_DEFAULT = "kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true"
_MANAGED_SECRETS = ("helm.sh/", "kubernetes.io/")


@rule("CONFIG_KEY_INVALID", "certain", "Kubernetes docs, ConfigMaps and Secrets",
      hint="use letters, digits, `-`, `_` and `.`, at most 253")  # fmt: skip
def key_characters(subject: Subject) -> Iterator[Violation]:
    """Keys of ConfigMaps and Secrets are names of files."""
    for one in subject.objects("ConfigMap", "Secret"):
        for key in sorted(_keys(one)):
            if not _KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
                yield Violation(f"{one.label}: the API server refuses the key `{key}`", one.place("config", "data"))


@rule("VALUE_RENEWED", "advice", "Helm docs, Chart Development Tips (lookup)",
      hint="keep what is there by `lookup` in the template, or give it as a Secret of the spec")  # fmt: skip
def renewed(subject: Subject) -> Iterator[Violation]:
    """Charts make no passwords and certificates anew at each upgrade."""
    for release in subject.releases:
        paths: dict[ObjectRef, list[str]] = {}
        for ref, path in release.renewed:
            if path.startswith(("data.", "stringData.", "binaryData.")):
                paths.setdefault(ref, []).append(path.partition(".")[2])
        for ref, keys in paths.items():
            label = f"{ref.kind.lower()}/{ref.name}"
            named = ", ".join(f"`{key}`" for key in keys)
            title = f"{label}: the chart makes a new {named} at each upgrade"
            detail = "pods keep the old value until they restart, and what is stored was made with it"
            if release.random:
                detail += f"\nit is made in {', '.join(release.random)}"
            yield Violation(title, Place(release.release.name, label), detail)


@rule("CONFIG_KEY_NAME", "policy", "topology 000 ConfigMap", hint="use letters, digits and _, and no digit first")
def key_names(subject: Subject) -> Iterator[Violation]:
    """Keys of ConfigMaps that become variables as a whole (envFrom) are names of environment variables."""
    taken = _environments(subject)
    for one in subject.objects("ConfigMap"):
        for key in one.data if (one.namespace, one.name) in taken else ():
            if not _ENV_NAME.fullmatch(str(key)):
                title = f"{one.label}: `{key}` is not the name of an environment variable"
                yield Violation(title, one.place("config", "data"))


@rule("CONFIG_VALUE", "certain", "topology 000 ConfigMap; Kubernetes docs, Secrets")
def values(subject: Subject) -> Iterator[Violation]:
    """Values of ConfigMaps and Secrets are strings; those of a Secret's data are base64."""
    for one in subject.objects("ConfigMap", "Secret"):
        for field in ("data", "stringData"):
            for key, value in (one.body.get(field) or {}).items():
                place = one.place("config", "data", str(key))
                if not isinstance(value, str):
                    title = f"{one.label}: the value of `{key}` is {kind_of(value)}, not a string"
                    yield Violation(title, place, hints=(f'write {key}: "…", or `| quote` in the template',))
                elif one.kind == "Secret" and field == "data" and not _is_base64(value):
                    title = f"{one.label}: the value of `{key}` is not base64"
                    yield Violation(title, place, hints=("use stringData, or `| b64enc` in the template",))


@rule("CONFIG_IMMUTABLE", "advice", "topology 000 ConfigMap (immutable: false)", hint="immutable: false")
def immutable(subject: Subject) -> Iterator[Violation]:
    """ConfigMaps can be changed."""
    for one in subject.objects("ConfigMap"):
        if one.body.get("immutable"):
            yield Violation(f"{one.label} is immutable: Kubernetes refuses every update of it",
                         one.place("config"))  # fmt: skip


@rule("CONFIG_SECRET", "policy", "topology 000 ConfigMap; topology 003 ConfigMap/Secret Constraints")
def looks_secret(subject: Subject) -> Iterator[Violation]:
    """No ConfigMap and no plain variable holds what looks like a secret."""
    for one in subject.objects("ConfigMap"):
        for key, value in one.data.items():
            if _is_secret(str(key), value):
                title = f"{one.label}: `{key}` looks like a secret"
                yield Violation(
                    title, one.place("config", "data", str(key)), hints=("put it under secrets in the spec",)
                )
    for container in subject.containers(init=True):
        for variable in container.body.get("env") or ():
            if _is_secret(str(variable.get("name")), variable.get("value")):
                text = f"the plain variable `{variable['name']}` looks like a secret"
                yield container.violation(text, "env", hint="put it under secrets in the spec")


@rule("SECRET_LEAK", "policy", "topology 000 Secret; topology 004 Security Requirements")
def leaks(subject: Subject) -> Iterator[Violation]:
    """No other object contains a value of a Secret of the spec."""
    known = {
        value: f"{secret.name}.{key}"
        for secret in subject.plan.secrets
        for key, value in secret.data.items()
        if is_telling(key, value)
    }
    for one in subject.objects():
        if one.kind == "Secret":
            continue
        found = {name for text in texts_of(one.body) for value, name in known.items() if value in text}
        for name in sorted(found):
            title = f"{one.label} contains the value of secret {name}"
            yield Violation(title, one.place(), hints=("refer to it by a secretKeyRef",))


@rule("SECRET_IN_CHART", "advice", "topology 000 Secret; topology 004 Security Requirements")
def chart_secrets(subject: Subject) -> Iterator[Violation]:
    """Charts make no Secrets with values: Helm keeps those in every revision."""
    for one in subject.objects("Secret"):
        if one.data or one.body.get("stringData"):
            yield Violation(f"{one.label}: the chart makes this Secret, and Helm keeps its values in every revision",
                         one.place(), hints=("put it under secrets in the spec",))  # fmt: skip


@rule("SECRET_TYPE", "policy", "topology 000 Secret", hint="type: Opaque")
def secret_types(subject: Subject) -> Iterator[Violation]:
    """Generic Secrets are Opaque."""
    for name, secret in subject.loaded.spec.secrets.items():
        if secret.type != "Opaque" and not secret.type.startswith(_MANAGED_SECRETS):
            yield Violation(f"secret `{name}` has type `{secret.type}`; a generic secret is Opaque",
                         Place(spec=("secrets", name, "type")))  # fmt: skip


@rule("ENCRYPTION_AT_REST", "advice", "topology 000 Secret; topology 003 Security",
      hint="use a cluster with encryption at rest for other keys")  # fmt: skip
def encryption(subject: Subject) -> Iterator[Violation]:
    """Secrets are encrypted where the cluster keeps them (Minikube does not)."""
    if subject.plan.secrets and subject.loaded.spec.cluster.provider == "minikube":
        yield Violation("Minikube keeps Secrets unencrypted on this machine's disk: fine for development keys alone",
                     Place(spec=("secrets",)))  # fmt: skip


@rule("STORAGE_CLASS", "certain", "topology 000 PersistentVolumeClaim",
      hint="leave storageClassName out to use the default class")  # fmt: skip
def storage_class(subject: Subject) -> Iterator[Violation]:
    """Claims that pods wait for get a storage class, or the class of a volume, that is there or is made."""
    known = subject.cluster.storage_classes if subject.cluster is not None else None
    if subject.cluster is None or known is None:
        return
    classes, volumes = list(subject.objects("StorageClass")), subject.objects("PersistentVolume")
    known |= {one.name for one in classes} | {"" for one in classes if is_default_class(one.body)}
    known |= {str(one.spec.get("storageClassName") or "") for one in volumes}
    has = "it has: " + (", ".join(sorted(filter(None, known))) or "none")
    # Minikube may still be making its default class.
    late = subject.loaded.spec.cluster.provider == "minikube"
    for one, claim in _claims(subject):
        wanted = str(claim.get("storageClassName") or "")
        if wanted in known or one.ref in subject.cluster.ours or _names_its_volume(claim):
            continue
        works = (work for work in subject.workloads() if work.ref == one.ref or _mounts(work, one.name))
        certain = any(work.starts for work in works) and (wanted or not late)
        what = f"asks for storage class `{wanted}`, which the cluster does not have"
        what = what if wanted else "names no storage class, and the cluster has no default one"
        yield Violation(f"{one.label} {what}", one.place("persistence", "storageClass"), has,
                        () if wanted else (_NAME_ONE, _MAKE_DEFAULT), None if certain else "warning")  # fmt: skip


def _names_its_volume(claim: Object) -> bool:
    """Whether it asks for a volume made by hand: by its name, or by an empty class, which is no class at all."""
    wanted = claim.get("storageClassName")
    return wanted == "" or bool(claim.get("volumeName") and wanted is None)


@rule(
    "VOLUME_NODE",
    "advice",
    "Minikube's storage-provisioner: hostPath, without node affinity",
    hint="up --recreate-cluster makes nodes that share volumes; a nodeSelector keeps the pod on one",
)
def volume_of_one_node(subject: Subject) -> Iterator[Violation]:
    """No claim gets a volume that is a folder of one node, where its pod may come to another and find it empty."""
    classes = subject.cluster.node_classes if subject.cluster is not None else frozenset()
    for one, claim in _claims(subject) if classes else ():
        wanted = claim.get("storageClassName")  # none is the default class, an empty one is no class at all
        if (wanted in classes if wanted else wanted is None and "" in classes) and not claim.get("volumeName"):
            title = f"{one.label}: its data is on one node only, and its pod may be moved to another"
            yield Violation(title, one.place("persistence", "storageClass"))


@rule("CLAIM_ACCESS", "certain", "topology 000 PersistentVolumeClaim", hint="accessModes: [ReadWriteOnce]")
def access_modes(subject: Subject) -> Iterator[Violation]:
    """Claims have an access mode that as many pods may use as there are (ReadWriteOnce: a warning)."""
    for one, claim in _claims(subject):
        modes = claim.get("accessModes") or []
        place = one.place("persistence", "accessModes")
        if not modes or any(mode not in _ACCESS_MODES for mode in modes):
            yield Violation(f"{one.label}: access modes {modes or 'none'}; known are {', '.join(_ACCESS_MODES)}", place)
        if one.kind != "PersistentVolumeClaim" or not set(modes) <= {"ReadWriteOnce", "ReadWriteOncePod"}:
            continue
        for workload in subject.workloads():
            pods = pods_of(workload) + surge_of(workload, pods_of(workload))
            if workload.kind == "Deployment" and pods > 1 and _mounts(workload, one.name):
                title = f"{one.label} is {modes[0]}, and up to {pods} pods of {workload.label} mount it at once"
                yield Violation(title, place, "in an update the old and the new pod overlap",
                             ("strategy: Recreate with one replica, or a StatefulSet",), "warning")  # fmt: skip


@rule("CLAIM_SIZE", "certain", "topology 000 PersistentVolumeClaim",
      hint="request a size that fits on the disk, such as 1Gi")  # fmt: skip
def claim_size(subject: Subject) -> Iterator[Violation]:
    """Claims have a size (more than the disk has is a warning)."""
    free = subject.machine.free_disk_mib
    most = min(mebibytes(subject.loaded.spec.cluster.disk), free) if free is not None else None
    for one, claim in _claims(subject):
        asked = ((claim.get("resources") or {}).get("requests") or {}).get("storage")
        place = one.place("persistence", "size")
        try:
            size = quantity(asked)
        except ValueError:
            size = Fraction(0)
        if size <= 0:
            yield Violation(f"{one.label}: `{asked}` is not a size", place)
            continue
        if most is not None and size > most * 2**20:
            what = f"{shown(size, 'memory')} is more than the {most} MiB that there are for the cluster"
            yield Violation(f"{one.label}: {what}", place, severity="warning")


def _claims(subject: Subject) -> Iterator[tuple[Manifest, Object]]:
    """The spec of every claim, with the object that it is of."""
    for one in subject.objects("PersistentVolumeClaim"):
        yield one, _claim_spec(one.body)
    for one in subject.objects("StatefulSet"):
        yield from ((one, _claim_spec(claim)) for claim in one.spec.get("volumeClaimTemplates") or ())


def _claim_spec(claim: Object) -> Object:
    """The claim's spec, with the class that an old chart names in an annotation, which goes before."""
    spec, legacy = claim.get("spec") or {}, dig(claim, "metadata", "annotations", _LEGACY_CLASS)
    return dict(spec) if legacy is None else {**spec, "storageClassName": legacy}


def _mounts(workload: Workload, claim: str) -> bool:
    return any((one.get("persistentVolumeClaim") or {}).get("claimName") == claim for one in workload.volumes)


def _environments(subject: Subject) -> set[tuple[str, str]]:
    """Namespace and name of the ConfigMaps of which a container takes every key as a variable."""
    sources = ((one.workload.namespace, source) for one in subject.containers(init=True)
               for source in one.body.get("envFrom") or ())  # fmt: skip
    return {(namespace, str((source.get("configMapRef") or {}).get("name"))) for namespace, source in sources}


def _is_base64(text: str) -> bool:
    """Whether Go decodes it, which passes over line breaks alone."""
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        return False
    return True


def _is_secret(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value.strip() or "$(" in value:  # Kubernetes fills in another variable
        return False
    if value.strip().isdigit() or value.strip().lower() in _SWITCHES:  # MAX_TOKENS: "1000"
        return False
    return bool(_SECRET_KEY.search(key) or _SECRET_VALUE.search(value))
