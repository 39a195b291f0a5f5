"""Helm's own storage: a revision is a Secret whose `release` is base64 of gzipped JSON (helm pkg/storage/driver).

Read and changed here as plain values: to tell the latest revision without starting helm, and to give a revision the
status that the watched rollout earned.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from deployer.core.ports import INPUTS_LABEL, LABEL_PREFIX, VERDICT_LABEL, Object, Revision

SELECTOR = "owner=helm"

OWNER_LABEL = f"{LABEL_PREFIX}/owner"
"""Label of a Helm revision: host, process and revision that a run of ours was making.

While a revision is pending its description is Helm's own, so that only a label tells whose it is; and because Helm
hands labels on to the next revision, whoever makes that, the number is part of it.
"""


def secret_name(release: str, revision: int) -> str:
    """The Secret that holds a revision."""
    return f"sh.helm.release.v1.{release}.v{revision}"


def revisions(secrets: Sequence[Object], release: str) -> tuple[Revision, ...]:
    """The release's revisions, oldest first, from the labels of Helm's Secrets (metadata is enough)."""
    found = []
    for secret in secrets:
        metadata = secret["metadata"]
        labels = metadata.get("labels") or {}
        if labels.get("owner") != "helm" or labels.get("name") != release:
            continue
        found.append(
            Revision(
                release=release,
                namespace=metadata.get("namespace", ""),
                revision=int(labels["version"]),
                status=labels.get("status", ""),
                inputs=labels.get(INPUTS_LABEL, ""),
                updated=labels.get("modifiedAt") or labels.get("createdAt") or "",
                verdict=labels.get(VERDICT_LABEL, ""),
            )
        )
    return tuple(sorted(found, key=lambda one: one.revision))


def decode(secret: Object) -> dict[str, Any]:
    """The revision's document: info, chart, config, manifest."""
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    document: dict[str, Any] = json.loads(gzip.decompress(packed))
    return document


def manifest_of(secret: Object) -> str:
    """The revision's objects as Helm rendered them, hooks left out."""
    return str(decode(secret).get("manifest") or "")


def encode(document: Mapping[str, Any]) -> str:
    """The revision's document as its Secret holds it."""
    # Helm compares nothing byte by byte; a fixed time keeps the result the same for the same revision.
    packed = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(packed)).decode()


def with_status(secret: Object, status: str, description: str) -> Object:
    """The Secret whose revision has another status and description."""
    document = decode(secret)
    document["info"] = {**document["info"], "status": status, "description": description}
    data = {**secret["data"], "release": encode(document)}
    labels = {**(secret["metadata"].get("labels") or {}), "status": status}
    return {**secret, "data": data, "metadata": {**secret["metadata"], "labels": labels}}
