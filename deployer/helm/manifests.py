"""What a manifest consists of, as Helm stores and prints it."""

from __future__ import annotations

from deployer.core.ports import ObjectRef, ref_of
from deployer.core.yaml import YamlError, load_documents


def objects_of(manifest: str, namespace: str) -> list[ObjectRef]:
    """The objects of a manifest as Helm stores it; one that names no namespace is in the release's."""
    try:
        objects = load_documents(manifest)
    except YamlError:
        return []
    refs = [ref_of(one, namespace) for one in objects]
    return [ref for ref in refs if ref.kind and ref.name]
