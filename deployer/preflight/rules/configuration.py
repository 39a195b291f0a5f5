"""Rules on ConfigMaps, Secrets and volume claims."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployer.config.spec import mebibytes
from deployer.core.ports import Object
from deployer.preflight.rules.model import (
    Breach,
    Place,
    Rendered,
    Rule,
    Subject,
    Workload,
    label_of,
    name_of,
    namespace_of,
    place_of,
    texts_of,
)
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


def key_names(subject: Subject) -> Iterator[Breach]:
    """Keys of ConfigMaps for environments that no environment variable can have."""
    for one, body in subject.objects("ConfigMap"):
        if _is_files(subject, one, body):
            continue
        for key in body.get("data") or {}:
            if not _ENV_NAME.fullmatch(str(key)):
                title = f"{label_of(body)}: `{key}` is not the name of an environment variable"
                yield Breach(title, place_of(one.release.name, body, "config", "data"))


def values(subject: Subject) -> Iterator[Breach]:
    """Values of ConfigMaps that are not text."""
    for one, body in subject.objects("ConfigMap"):
        for key, value in (body.get("data") or {}).items():
            if not isinstance(value, str):
                title = f"{label_of(body)}: the value of `{key}` is {type(value).__name__}, not a string"
                place = place_of(one.release.name, body, "config", "data", str(key))
                yield Breach(title, place, hints=(f'write {key}: "…", or `| quote` in the template',))


def immutable(subject: Subject) -> Iterator[Breach]:
    """ConfigMaps that no update can change."""
    for one, body in subject.objects("ConfigMap"):
        if body.get("immutable"):
            yield Breach(f"{label_of(body)} is immutable: an update of it will be refused",
                         place_of(one.release.name, body, "config"))  # fmt: skip


def looks_secret(subject: Subject) -> Iterator[Breach]:
    """ConfigMap entries and plain variables that look like secrets."""
    for one, body in subject.objects("ConfigMap"):
        for key, value in (body.get("data") or {}).items():
            if _is_secret(str(key), value):
                title = f"{label_of(body)}: `{key}` looks like a secret"
                place = place_of(one.release.name, body, "config", "data", str(key))
                yield Breach(title, place, hints=("put it under secrets in the spec",))
    for workload in subject.workloads():
        for container in workload.containers(init=True):
            for variable in container.get("env") or ():
                if _is_secret(str(variable.get("name")), variable.get("value")):
                    title = f"{workload.label}: the plain variable `{variable['name']}` looks like a secret"
                    place = place_of(workload.release, workload.body, "env")
                    yield Breach(title, place, hints=("put it under secrets in the spec",))


def leaks(subject: Subject) -> Iterator[Breach]:
    """Values of the spec's Secrets that stand in other objects."""
    known = {
        value: f"{secret.name}.{key}"
        for secret in subject.plan.secrets
        for key, value in secret.data.items()
        if len(value) >= _TELLING_LENGTH
    }
    for one in subject.releases:
        for body in one.objects:
            if body.get("kind") == "Secret":
                continue
            found = {name for text in texts_of(body) for value, name in known.items() if value in text}
            for name in sorted(found):
                title = f"{label_of(body)} contains the value of secret {name}"
                yield Breach(title, place_of(one.release.name, body), hints=("refer to it by a secretKeyRef",))


def chart_secrets(subject: Subject) -> Iterator[Breach]:
    """Secrets with values that charts make: the values stand in every revision of the release."""
    for one, body in subject.objects("Secret"):
        if body.get("data") or body.get("stringData"):
            yield Breach(f"{label_of(body)} is made by the chart, and its values are kept in Helm's history",
                         place_of(one.release.name, body), hints=("put it under secrets in the spec",))  # fmt: skip


def secret_types(subject: Subject) -> Iterator[Breach]:
    """Secrets of a type that is neither Opaque nor one of Kubernetes' own."""
    for name, secret in subject.loaded.spec.secrets.items():
        if secret.type != "Opaque" and not secret.type.startswith(_MANAGED_SECRETS):
            yield Breach(f"secret `{name}` has type `{secret.type}`; a generic secret is Opaque",
                         Place(spec=("secrets", name, "type")))  # fmt: skip


def encryption(subject: Subject) -> Iterator[Breach]:
    """Secrets on Minikube, whose API server does not encrypt what it keeps."""
    if subject.plan.secrets and subject.loaded.spec.cluster.provider == "minikube":
        yield Breach("Minikube keeps Secrets unencrypted on this machine's disk: fine for development keys alone",
                     Place(spec=("secrets",)))  # fmt: skip


def storage_class(subject: Subject) -> Iterator[Breach]:
    """Claims of a storage class that the running cluster does not have."""
    known = subject.cluster.storage_classes if subject.cluster is not None else None
    if known is None:
        return
    for release, body, claim in _claims(subject):
        wanted = claim.get("storageClassName")
        if wanted and wanted not in known:
            yield Breach(f"{label_of(body)} asks for storage class `{wanted}`, which the cluster does not have",
                         place_of(release, body, "persistence", "storageClass"),
                         "it has: " + (", ".join(sorted(known)) or "none"))  # fmt: skip


def access_modes(subject: Subject) -> Iterator[Breach]:
    """Claims without a known access mode, or with one that fewer pods may use than there are."""
    for release, body, claim in _claims(subject):
        modes = claim.get("accessModes") or []
        place = place_of(release, body, "persistence", "accessModes")
        if not modes or any(mode not in _ACCESS_MODES for mode in modes):
            yield Breach(
                f"{label_of(body)}: access modes {modes or 'none'}; known are {', '.join(_ACCESS_MODES)}", place
            )
        if body.get("kind") != "PersistentVolumeClaim" or not set(modes) <= {"ReadWriteOnce", "ReadWriteOncePod"}:
            continue
        for workload in subject.workloads():
            pods = pods_of(workload) + surge_of(workload, pods_of(workload))
            if workload.kind == "Deployment" and pods > 1 and _mounts(workload, name_of(body)):
                alone = modes == ["ReadWriteOncePod"]
                title = f"{label_of(body)} is {modes[0]}, and up to {pods} pods of {workload.label} mount it at once"
                yield Breach(title, place, "in an update the old and the new pod overlap",
                             ("strategy: Recreate with one replica, or a StatefulSet",),
                             "error" if alone else "warning")  # fmt: skip


def claim_size(subject: Subject) -> Iterator[Breach]:
    """Claims without a size, or with one that the disk does not have."""
    free = subject.machine.free_disk_mib
    most = min(mebibytes(subject.loaded.spec.cluster.disk), free) if free is not None else None
    for release, body, claim in _claims(subject):
        asked = ((claim.get("resources") or {}).get("requests") or {}).get("storage")
        place = place_of(release, body, "persistence", "size")
        try:
            size = quantity(asked)
        except ValueError:
            yield Breach(f"{label_of(body)}: `{asked}` is not a size", place)
            continue
        if most is not None and size > most * 2**20:
            told = f"{shown(size, 'memory')} is more than the {most} MiB that there are for the cluster"
            yield Breach(f"{label_of(body)}: {told}", place, severity="warning")


def _claims(subject: Subject) -> Iterator[tuple[str, Object, Object]]:
    for one, body in subject.objects("PersistentVolumeClaim"):
        yield one.release.name, body, body.get("spec") or {}
    for one, body in subject.objects("StatefulSet"):
        for claim in (body.get("spec") or {}).get("volumeClaimTemplates") or ():
            yield one.release.name, body, claim.get("spec") or {}


def _mounts(workload: Workload, claim: str) -> bool:
    volumes = workload.pod.get("volumes") or ()
    return any((one.get("persistentVolumeClaim") or {}).get("claimName") == claim for one in volumes)


def _is_files(subject: Subject, one: Rendered, body: Object) -> bool:
    """Whether a pod mounts the ConfigMap: its keys are then names of files."""
    here = namespace_of(one.release, body)
    volumes = [
        source for work in subject.workloads() if work.namespace == here
        for volume in work.pod.get("volumes") or ()
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ()))
    ]  # fmt: skip
    return any((volume.get("configMap") or {}).get("name") == name_of(body) for volume in volumes)


def _is_secret(key: str, value: object) -> bool:
    if not isinstance(value, str) or not value.strip() or "$(" in value:  # Kubernetes fills in another variable
        return False
    if value.strip().isdigit() or value.strip().lower() in ("true", "false"):  # MAX_TOKENS: "1000"
        return False
    return bool(_SECRET_KEY.search(key) or _SECRET_VALUE.search(value))


RULES = (
    Rule("CONFIG_KEY_NAME", "S0 ConfigMap", "error",
         "Keys of ConfigMaps that are no files are names of environment variables.", key_names),
    Rule("CONFIG_VALUE", "S0 ConfigMap", "error", "Values of ConfigMaps are strings.", values),
    Rule("CONFIG_IMMUTABLE", "S0 ConfigMap (immutable: false)", "warning", "ConfigMaps can be changed.", immutable),
    Rule("CONFIG_SECRET", "S0 ConfigMap; S3 ConfigMap/Secret Constraints", "error",
         "Nothing in ConfigMaps or plain variables looks like a secret.", looks_secret),
    Rule("SECRET_LEAK", "S0 Secret; S4 Security Requirements", "error",
         "No value of a Secret of the spec stands in another object.", leaks),
    Rule("SECRET_IN_CHART", "S0 Secret; S4 Security Requirements", "warning",
         "Charts make no Secrets with values.", chart_secrets),
    Rule("SECRET_TYPE", "S0 Secret", "error", "Generic Secrets are Opaque.", secret_types),
    Rule("ENCRYPTION_AT_REST", "S0 Secret; S3 Security", "warning",
         "Secrets are encrypted where the cluster keeps them (Minikube does not).", encryption),
    Rule("STORAGE_CLASS", "S0 PersistentVolumeClaim", "error",
         "Claims ask for a storage class that the running cluster has.", storage_class),
    Rule("CLAIM_ACCESS", "S0 PersistentVolumeClaim", "error",
         "Claims have an access mode that as many pods may use as there are (ReadWriteOnce: a warning).", access_modes),
    Rule("CLAIM_SIZE", "S0 PersistentVolumeClaim", "error",
         "Claims have a size (more than the disk has is a warning).", claim_size),
)  # fmt: skip
