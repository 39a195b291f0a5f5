"""What a manifest consists of, as Helm stores and prints it."""

from __future__ import annotations

from deployer.adapters.fastyaml import YamlError, load_documents
from deployer.ports import ObjectRef


def objects_of(manifest: str, namespace: str) -> list[ObjectRef]:
    """The objects of a manifest as Helm stores it; one that names no namespace is in the release's."""
    try:
        objects = load_documents(manifest)
    except YamlError:
        return []
    return [
        ObjectRef(str(one["kind"]), one["metadata"].get("namespace") or namespace, str(one["metadata"]["name"]))
        for one in objects
        if one.get("kind") and (one.get("metadata") or {}).get("name")
    ]
