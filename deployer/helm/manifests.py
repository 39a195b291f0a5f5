"""What a manifest consists of, as Helm stores and prints it."""

from __future__ import annotations

from deployer.core.objects import identified
from deployer.core.ports import ObjectRef, ref_of
from deployer.core.reading import Malformed
from deployer.core.yaml import parse_manifest


def objects_of(manifest: str, namespace: str) -> list[ObjectRef]:
    """The objects of a manifest as Helm stores it; one that names no namespace is in the release's."""
    try:
        objects = parse_manifest(manifest)
    except Malformed:
        return []
    refs = [ref_of(identified(one), namespace) for one in objects]
    return [ref for ref in refs if ref.kind and ref.name]
