"""Helm's own storage: a revision is a Secret whose `release` is base64 of gzipped JSON (helm pkg/storage/driver).

Read and changed here without starting helm: to know a release's latest revision and the objects of its manifest and
hooks, and to give a revision the status that the watched rollout earned.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.objects import identified
from deployer.core.ports import INPUTS_LABEL, LABEL_PREFIX, VERDICT_LABEL, KubePort, Object, ObjectRef, Revision, ref_of
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.redact import KNOWN, SECRET_NAME
from deployer.core.text import first_few
from deployer.core.yaml import parse_manifest, text_of
from deployer.status.objects import annotations_of, labels_of

SELECTOR = "owner=helm"
_GZIP = b"\x1f\x8b"
MOST_BYTES = 2**20
"""Of a Secret's data, as the API server checks it."""
_FEW = 700_000
"""Of what does not get smaller by gzip, which base64 makes a third larger."""


@dataclass(frozen=True, slots=True)
class _Data:
    release: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """The Secret that holds a revision, as far as it is read."""

    data: _Data


@dataclass(frozen=True, slots=True)
class _Chart:
    metadata: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Hook:
    manifest: str | None = None
    events: list[str] | None = None


@dataclass(frozen=True, slots=True)
class _Revision:
    """The revision's document, as far as it is read."""

    info: dict[str, Any]
    config: dict[str, Any] | None = None
    chart: _Chart | None = None
    manifest: str | None = None
    hooks: list[_Hook] | None = None


OWNER_LABEL = f"{LABEL_PREFIX}/owner"
"""Label of a Helm revision: host, process and revision that a run of ours was making.

While a revision is pending its description is Helm's own, so that only a label shows whose it is; and because Helm
hands labels on to the next revision, whoever makes that, the number is part of it.
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """A release in the cluster: its revision, its objects, and whether this run made the revision."""

    name: str
    namespace: str
    revision: int
    changed: bool
    reason: str
    inputs: str
    objects: tuple[ObjectRef, ...]
    verified: bool


def secret_name(release: str, revision: int) -> str:
    """The Secret that holds a revision."""
    return f"sh.helm.release.v1.{release}.v{revision}"


def revisions(secrets: Sequence[Object], release: str) -> tuple[Revision, ...]:
    """The release's revisions, oldest first, from the labels of Helm's Secrets (metadata is enough)."""
    found = []
    for secret in secrets:
        metadata, labels = secret["metadata"], labels_of(secret)
        if labels.get("owner") != "helm" or labels.get("name") != release:
            continue
        number = str(labels.get("version"))
        if not number.isdecimal() or len(number) > 9:  # helm writes no such label
            continue
        found.append(
            Revision(
                release=release,
                namespace=metadata.get("namespace", ""),
                revision=int(number),
                status=labels.get("status", ""),
                inputs=labels.get(INPUTS_LABEL, ""),
                updated=labels.get("modifiedAt") or labels.get("createdAt") or "",
                verdict=labels.get(VERDICT_LABEL, ""),
                created=str(metadata.get("creationTimestamp") or ""),
            )
        )
    return tuple(sorted(found, key=lambda one: one.revision))


class Damaged(DeployError):
    """A Secret of Helm's that holds no revision: what is only to be shown can do without it."""


def decode(secret: Object) -> dict[str, Any]:
    """The revision's document: info, chart, config, manifest. Raises Damaged for what Helm cannot have written."""
    try:
        packed = base64.b64decode(base64.b64decode(shaped(_Stored, secret).data.release))
        document = parse_json(gzip.decompress(packed) if packed.startswith(_GZIP) else packed)
        shaped(_Revision, document)
        return shaped(dict[str, Any], document)
    except (ValueError, OSError, EOFError, zlib.error) as error:
        name = str((secret.get("metadata") or {}).get("name", ""))
        title = f"the Secret {name} holds no revision that can be read"
        hints = (f"kubectl delete secret {name}, if that revision is not needed", "todo-deploy up")
        raise Damaged(Problem("REVISION_DAMAGED", title, str(error), hints=hints), ExitCode.REFUSED) from None


def manifest_of(secret: Object) -> str:
    """The revision's objects as Helm rendered them, hooks left out. Raises Damaged."""
    return str(decode(secret).get("manifest") or "")


def applied_on_server(secret: Object | None) -> bool:
    """Whether Helm 4 applied the revision by server-side apply: so it will apply the next one, or this one again.

    Helm 3 writes no such field and hands none on. Raises Damaged.
    """
    return secret is not None and decode(secret).get("apply_method") == "ssa"


def encode(document: Mapping[str, Any]) -> str:
    """The revision's document as its Secret holds it."""
    # Helm compares nothing byte by byte; a fixed time keeps the result the same for the same revision.
    packed = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(packed)).decode()


def stored_size(chart: Path, values: Mapping[str, Any], objects: Sequence[Object]) -> int:
    """The bytes that Helm's Secret will have for a revision of the chart; 0 where they are certainly few.

    Helm stores the templates and other files of the chart, not its parts, and what they render to
    (pkg/chart/v2: Chart; pkg/storage/driver/util.go, encodeRelease).
    """
    manifest = "".join(f"---\n{json.dumps(one)}\n" for one in objects)
    files = [path for path in sorted(chart.rglob("*")) if path.is_file() and not _of_no_file(path.relative_to(chart))]
    if sum(path.stat().st_size for path in files) + len(manifest) < _FEW:
        return 0
    parts = [{"name": str(path.relative_to(chart)), "data": base64.b64encode(path.read_bytes()).decode()}
             for path in files]  # fmt: skip
    document = {"chart": {"files": parts}, "config": dict(values), "manifest": manifest}
    packed = gzip.compress(json.dumps(document, default=str).encode(), mtime=0)
    return len(base64.b64encode(packed))


def _of_no_file(name: Path) -> bool:
    return name.parts[0] == "charts" or str(name) in ("Chart.yaml", "Chart.lock", "values.yaml")


def with_status(secret: Object, status: str, description: str) -> Object:
    """The Secret whose revision has another status and description."""
    document = decode(secret)
    document["info"] = {**document["info"], "status": status, "description": description}
    data = {**secret["data"], "release": encode(document)}
    labels = {**labels_of(secret), "status": status}
    return {**secret, "data": data, "metadata": {**secret["metadata"], "labels": labels}}


def keeping(secret: Object, namespaces: Collection[str]) -> Object | None:
    """The Secret whose revision leaves those namespaces when it is uninstalled; None where it has none of them.

    Helm deletes what the manifest of the revision does not mark (pkg/action/resource_policy.go).
    """
    return with_parts(secret, lambda part: _kept(part, namespaces))


def with_parts(secret: Object, change: Callable[[str], str]) -> Object | None:
    """The Secret whose revision has each document of its manifest as `change` makes it; None where all stay so.

    One that becomes empty is left out.
    """
    document = decode(secret)
    parts = re.split(r"^---.*\n", str(document.get("manifest") or ""), flags=re.MULTILINE)
    changed = [change(part) for part in parts]
    if changed == parts:
        return None
    document["manifest"] = "".join(f"---\n{part}" for part in changed if part.strip())
    return {**secret, "data": {**secret["data"], "release": encode(document)}}


def _kept(part: str, namespaces: Collection[str]) -> str:
    with suppress(Malformed):
        for one in parse_manifest(part):
            body = identified(one)
            metadata = body["metadata"]
            if body.get("kind") == "Namespace" and metadata.get("name") in namespaces:
                notes = {**annotations_of(body), "helm.sh/resource-policy": "keep"}
                return json.dumps({**body, "metadata": {**metadata, "annotations": notes}}) + "\n"
    return part


def revisions_of(release: str, namespace: str, kube: KubePort) -> tuple[Revision, ...]:
    """The release's revisions, oldest first; none where it is not installed."""
    labels = f"{SELECTOR},name={release}"
    return revisions(kube.list("Secret", namespace, labels=labels, metadata_only=True), release)


def stored_revision(release: str, namespace: str, number: int, kube: KubePort) -> Object | None:
    """The Secret that holds the revision with all that belongs to it; None where Helm has it no more."""
    return kube.get("Secret", namespace, secret_name(release, number))


def label(release: str, namespace: str, number: int, labels: Mapping[str, str], kube: KubePort) -> None:
    """The Secret that holds the revision has these labels, too."""
    kube.patch("Secret", namespace, secret_name(release, number), {"metadata": {"labels": dict(labels)}})


def latest_of(release: str, namespace: str, kube: KubePort) -> Revision | None:
    """The release's newest revision; None where it is not installed."""
    return next(reversed(revisions_of(release, namespace, kube)), None)


def stored_objects(secret: Object, namespace: str) -> tuple[ObjectRef, ...]:
    """The objects of a stored revision, hooks left out. Raises Damaged."""
    return tuple(objects_of(manifest_of(secret), namespace))


def made_by_hooks(release: str, namespace: str, kube: KubePort) -> tuple[ObjectRef, ...]:
    """What the hooks of the release's stored revisions make."""
    stored = kube.list("Secret", namespace, labels=f"{SELECTOR},name={release}")
    found: dict[ObjectRef, None] = {}
    for one in stored:
        with suppress(Damaged):  # what cannot be read must not keep anybody from removing the rest
            for hook in decode(one).get("hooks") or ():
                found |= dict.fromkeys(objects_of(str(hook.get("manifest") or ""), namespace))
    return tuple(found)


def objects_of(manifest: str, namespace: str) -> list[ObjectRef]:
    """The objects of a manifest as Helm stores it; one that names no namespace is in the release's."""
    try:
        objects = parse_manifest(manifest)
    except Malformed:
        return []
    refs = [ref_of(identified(one), namespace) for one in objects]
    return [ref for ref in refs if ref.kind and ref.name]


_LONGEST = 60


def changed_paths(old: Any, new: Any, path: str = "") -> tuple[str, ...]:
    """The innermost paths at which the two differ, without values; a list of another length is one place."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        pairs = [(f"{path}.{key}" if path else str(key), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(f"{path}[{at}]", *pair) for at, pair in enumerate(zip(old, new, strict=True))]
    else:
        return () if old == new else (path,)
    return tuple(place for name, one, other in pairs for place in changed_paths(one, other, name))


def in_words(changes: Iterable[str], chart: str = "") -> str:
    """The first changes and how many more there are; `chart` says what of the chart itself changed."""
    return first_few([*filter(None, (chart,)), *changes]) or "inputs changed"


def value_changes(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Each changed path, with its values where they are short and no secrets: `backend.replicaCount: 2 → 3`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from value_changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from value_changes(one, other, f"{path}[{index}]")
    elif old != new:
        before, after = KNOWN(_short(old)), KNOWN(_short(new))
        shown = before and after and len(before) + len(after) < _LONGEST and not SECRET_NAME.search(path)
        yield f"{path}: {before} → {after}" if shown else path


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return ""
    return "none" if value is None else text_of(value)
