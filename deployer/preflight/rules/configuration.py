"""Rules on ConfigMaps, Secrets and volume claims."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.config.spec import mebibytes
from deployer.core.ports import Object
from deployer.preflight.rules.model import Manifest, Place, Subject, Violation, Workload, rule, texts_of
from deployer.preflight.rules.quantities import quantity, shown
from deployer.preflight.rules.workloads import pods_of, surge_of

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(
    r"(PASS(WORD|WD|PHRASE)|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)S?$", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|^sk-[A-Za-z0-9_-]{16,}$|^gh[pousr]_[A-Za-z0-9]{20,}$|^AKIA[A-Z0-9]{16}$|"
    r"^eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|://[^/\s:@]*:[^/\s@]+@"
)
# Shorter ones stand in many texts by chance.
_TELLING_LENGTH = 8
_ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_MANAGED_SECRETS = ("helm.sh/", "kubernetes.io/")


@rule("CONFIG_KEY_NAME", "error", "topology 000 ConfigMap", hint="use letters, digits and _, and no digit first")
def key_names(subject: Subject) -> Iterator[Violation]:
    """Keys of ConfigMaps that are no files are names of environment variables."""
    for one in subject.objects("ConfigMap"):
        if _is_mounted(subject, one):
            continue
        for key in one.data:
            if not _ENV_NAME.fullmatch(str(key)):
                title = f"{one.label}: `{key}` is not the name of an environment variable"
                yield Violation(title, one.place("config", "data"))


@rule("CONFIG_VALUE", "error", "topology 000 ConfigMap")
def values(subject: Subject) -> Iterator[Violation]:
    """Values of ConfigMaps are strings."""
    for one in subject.objects("ConfigMap"):
        for key, value in one.data.items():
            if not isinstance(value, str):
                title = f"{one.label}: the value of `{key}` is {type(value).__name__}, not a string"
                place = one.place("config", "data", str(key))
                yield Violation(title, place, hints=(f'write {key}: "…", or `| quote` in the template',))


@rule("CONFIG_IMMUTABLE", "warning", "topology 000 ConfigMap (immutable: false)", hint="immutable: false")
def immutable(subject: Subject) -> Iterator[Violation]:
    """ConfigMaps can be changed."""
    for one in subject.objects("ConfigMap"):
        if one.body.get("immutable"):
            yield Violation(f"{one.label} is immutable: Kubernetes refuses every update of it",
                         one.place("config"))  # fmt: skip


@rule("CONFIG_SECRET", "error", "topology 000 ConfigMap; topology 003 ConfigMap/Secret Constraints")
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


@rule("SECRET_LEAK", "error", "topology 000 Secret; topology 004 Security Requirements")
def leaks(subject: Subject) -> Iterator[Violation]:
    """No other object contains a value of a Secret of the spec."""
    known = {
        value: f"{secret.name}.{key}"
        for secret in subject.plan.secrets
        for key, value in secret.data.items()
        if len(value) >= _TELLING_LENGTH
    }
    for one in subject.objects():
        if one.kind == "Secret":
            continue
        found = {name for text in texts_of(one.body) for value, name in known.items() if value in text}
        for name in sorted(found):
            title = f"{one.label} contains the value of secret {name}"
            yield Violation(title, one.place(), hints=("refer to it by a secretKeyRef",))


@rule("SECRET_IN_CHART", "warning", "topology 000 Secret; topology 004 Security Requirements")
def chart_secrets(subject: Subject) -> Iterator[Violation]:
    """Charts make no Secrets with values: Helm keeps those in every revision."""
    for one in subject.objects("Secret"):
        if one.data or one.body.get("stringData"):
            yield Violation(f"{one.label}: the chart makes this Secret, and Helm keeps its values in every revision",
                         one.place(), hints=("put it under secrets in the spec",))  # fmt: skip


@rule("SECRET_TYPE", "error", "topology 000 Secret", hint="type: Opaque")
def secret_types(subject: Subject) -> Iterator[Violation]:
    """Generic Secrets are Opaque."""
    for name, secret in subject.loaded.spec.secrets.items():
        if secret.type != "Opaque" and not secret.type.startswith(_MANAGED_SECRETS):
            yield Violation(f"secret `{name}` has type `{secret.type}`; a generic secret is Opaque",
                         Place(spec=("secrets", name, "type")))  # fmt: skip


@rule("ENCRYPTION_AT_REST", "warning", "topology 000 Secret; topology 003 Security",
      hint="use a cluster with encryption at rest for other keys")  # fmt: skip
def encryption(subject: Subject) -> Iterator[Violation]:
    """Secrets are encrypted where the cluster keeps them (Minikube does not)."""
    if subject.plan.secrets and subject.loaded.spec.cluster.provider == "minikube":
        yield Violation("Minikube keeps Secrets unencrypted on this machine's disk: fine for development keys alone",
                     Place(spec=("secrets",)))  # fmt: skip


@rule("STORAGE_CLASS", "error", "topology 000 PersistentVolumeClaim",
      hint="leave storageClassName out to use the default class")  # fmt: skip
def storage_class(subject: Subject) -> Iterator[Violation]:
    """Claims ask for a storage class that the running cluster has."""
    known = subject.cluster.storage_classes if subject.cluster is not None else None
    if known is None:
        return
    for one, claim in _claims(subject):
        wanted = claim.get("storageClassName")
        if wanted and wanted not in known:
            yield Violation(f"{one.label} asks for storage class `{wanted}`, which the cluster does not have",
                         one.place("persistence", "storageClass"),
                         "it has: " + (", ".join(sorted(known)) or "none"))  # fmt: skip


@rule("CLAIM_ACCESS", "error", "topology 000 PersistentVolumeClaim", hint="accessModes: [ReadWriteOnce]")
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
                alone = modes == ["ReadWriteOncePod"]
                title = f"{one.label} is {modes[0]}, and up to {pods} pods of {workload.label} mount it at once"
                yield Violation(title, place, "in an update the old and the new pod overlap",
                             ("strategy: Recreate with one replica, or a StatefulSet",),
                             "error" if alone else "warning")  # fmt: skip


@rule("CLAIM_SIZE", "error", "topology 000 PersistentVolumeClaim",
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
            yield Violation(f"{one.label}: `{asked}` is not a size", place)
            continue
        if most is not None and size > most * 2**20:
            what = f"{shown(size, 'memory')} is more than the {most} MiB that there are for the cluster"
            yield Violation(f"{one.label}: {what}", place, severity="warning")


def _claims(subject: Subject) -> Iterator[tuple[Manifest, Object]]:
    """The spec of every claim, with the object that it is of."""
    for one in subject.objects("PersistentVolumeClaim"):
        yield one, one.spec
    for one in subject.objects("StatefulSet"):
        yield from ((one, claim.get("spec") or {}) for claim in one.spec.get("volumeClaimTemplates") or ())


def _mounts(workload: Workload, claim: str) -> bool:
    return any((one.get("persistentVolumeClaim") or {}).get("claimName") == claim for one in workload.volumes)


def _is_mounted(subject: Subject, config: Manifest) -> bool:
    """Whether a pod mounts the ConfigMap: its keys are then names of files."""
    volumes = (one for work in subject.workloads() if work.namespace == config.namespace for one in work.volumes)
    return any((one.get("configMap") or {}).get("name") == config.name for one in volumes)


def _is_secret(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value.strip() or "$(" in value:  # Kubernetes fills in another variable
        return False
    if value.strip().isdigit() or value.strip().lower() in ("true", "false"):  # MAX_TOKENS: "1000"
        return False
    return bool(_SECRET_KEY.search(key) or _SECRET_VALUE.search(value))
