"""What the tool remembers of a deployment, kept in the cluster itself so that every machine sees the same.

One Secret per application, `todo-deploy.<application>`: the salt of its keyed hashes, the tags it has used, each
release's objects, and the revisions with their verdicts. It holds digests and names, never a value of a Secret.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from deployer.core.errors import DeployError, Problem, refused
from deployer.core.ports import LABEL_PREFIX, MANAGED_BY, OWNER, KubePort, Object, ObjectRef
from deployer.core.reading import parse_json, shaped
from deployer.kube.rights import is_forbidden
from deployer.state.history import Entry
from deployer.status.objects import labels_of

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release as it was last applied by us."""

    namespace: str
    revision: int
    inputs: str
    objects: tuple[ObjectRef, ...]


@dataclass(frozen=True, slots=True)
class _Data:
    record: str


@dataclass(frozen=True, slots=True)
class _Secret:
    """The Secret that holds a record, as far as it is read."""

    data: _Data


@dataclass(frozen=True, slots=True)
class Record:
    """An application's memory; `version` is the resourceVersion it was read at, empty when there is none yet.

    `claims` are the volume claims that a `down` left behind.
    """

    salt: str = field(repr=False)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    releases: Mapping[str, ReleaseRecord] = field(default_factory=dict)
    claims: tuple[ObjectRef, ...] = ()
    history: tuple[Entry, ...] = ()
    version: str = ""


def new_record() -> Record:
    """A record of an application that was never deployed, with a fresh salt."""
    return Record(salt=secrets.token_hex(16))


def record_name(application: str) -> str:
    """The name of the Secret that holds the record."""
    return f"{OWNER}.{application}"


def decode(body: Object) -> Record:
    """The record that the Secret holds; refused where it is damaged or a newer version of the tool wrote it."""
    name = str((body.get("metadata") or {}).get("name", ""))
    try:
        document = shaped(dict[str, Any], parse_json(base64.b64decode(shaped(_Secret, body).data.record)))
        number = document.get("format", _FORMAT)
        if isinstance(number, int) and number > _FORMAT:
            raise refused(
                "RECORD_NEWER",
                f"a newer todo-deploy wrote the record {name} of this application",
                detail=f"its format is {number}, and this version knows those up to {_FORMAT}",
                hints=("use the newer todo-deploy here, too",),
            )
        version = body["metadata"]["resourceVersion"]
        return replace(shaped(Record, document), version=version)
    except (ValueError, KeyError) as error:
        raise refused(
            "RECORD_DAMAGED",
            f"the record {name} in the cluster cannot be read",
            detail=str(error),
            hints=(
                f"kubectl get secret {name} --output yaml shows it",
                f"kubectl delete secret {name}: then `up` begins a new history; what runs stays",
            ),
        ) from None


def encode(application: str, namespace: str, record: Record) -> Object:
    """The Secret that holds the record."""
    document = {
        "format": _FORMAT,
        "salt": record.salt,
        "tags": record.tags,
        "releases": {
            name: {
                "namespace": one.namespace,
                "revision": one.revision,
                "inputs": one.inputs,
                "objects": _refs(one.objects),
            }
            for name, one in record.releases.items()
        },
        "claims": _refs(record.claims),
        "history": [asdict(entry) for entry in record.history],
    }
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    labels = {
        MANAGED_BY: OWNER,
        "app.kubernetes.io/part-of": application,
        f"{LABEL_PREFIX}/record": application,
    }
    metadata: dict[str, Any] = {"name": record_name(application), "namespace": namespace, "labels": labels}
    if record.version:
        metadata["resourceVersion"] = record.version
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": f"{LABEL_PREFIX}/record",
        "data": {"record": base64.b64encode(raw).decode()},
    }


def load(kube: KubePort, namespace: str, application: str) -> Record:
    """What the cluster remembers of the application; a fresh record, without version, where it was never deployed.

    Refused where the Secret of that name is not this application's record.
    """
    name = record_name(application)
    found = kube.get("Secret", namespace, name)
    if found is None:
        return new_record()
    owner = labels_of(found).get(f"{LABEL_PREFIX}/record")
    if owner != application:
        raise refused(
            "RECORD_FOREIGN",
            f"Secret `{name}` in namespace `{namespace}` is not the record of application `{application}`",
            detail=f"it is that of application `{owner}`" if owner else "todo-deploy did not make it",
            hints=(f"kubectl --namespace {namespace} get secret {name} --show-labels",),
        )
    return decode(found)


def of_all_applications(
    kube: KubePort, namespaces: Iterable[str] = ()
) -> tuple[dict[str, Record], tuple[Problem, ...]]:
    """What the cluster remembers of every application that was deployed to it, and of which that cannot be read.

    Who may not list the Secrets of all namespaces sees those of these.
    """
    found: dict[str, Record] = {}
    problems: list[Problem] = []
    label = f"{LABEL_PREFIX}/record"
    for one in visible_secrets(kube, label, namespaces):
        try:
            found[str(one["metadata"]["labels"][label])] = decode(one)
        except DeployError as error:
            (why,) = error.problems
            title = f"{why.title}: it is left out of account"
            problems.append(replace(why, code="RECORD_SKIPPED", title=title, hints=()))
    return found, tuple(problems)


def visible_secrets(kube: KubePort, labels: str, namespaces: Iterable[str]) -> list[Object]:
    """The Secrets with these labels of all namespaces, or of these where this user may not list all."""
    try:
        return kube.list("Secret", labels=labels)
    except DeployError as error:
        if not is_forbidden(error):
            raise
    return [one for name in sorted(set(namespaces)) for one in kube.list("Secret", name, labels=labels)]


def save(kube: KubePort, namespace: str, application: str, record: Record) -> Record:
    """The cluster remembers the record; refused when somebody else wrote it since it was read."""
    body = encode(application, namespace, record)
    written = kube.replace(body) if record.version else kube.create(body)
    return replace(record, version=written["metadata"]["resourceVersion"])


def with_tags(record: Record, used: Mapping[str, Mapping[str, str]]) -> Record:
    """The record that also knows these tags (repository → tag → digest)."""
    merged = {repository: dict(known) for repository, known in record.tags.items()}
    for repository, fresh in used.items():
        merged.setdefault(repository, {}).update(fresh)
    return replace(record, tags=merged)


def with_release(record: Record, name: str, release: ReleaseRecord) -> Record:
    """The record with this release as last applied."""
    return replace(record, releases={**record.releases, name: release})


def _refs(refs: Iterable[ObjectRef]) -> list[list[Any]]:
    return [[ref.kind, ref.namespace, ref.name, *([True] if ref.passing else ())] for ref in refs]
