"""An addon's objects, from the manifests that come with this package: plain Kubernetes YAML with a few `${NAMES}`."""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Mapping
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.ports import LABEL_PREFIX, Object
from deployer.core.yaml import parse_manifest

FOLDER = Path(__file__).parent / "manifests"
ADDON_LABEL = f"{LABEL_PREFIX}/addon"

# How many addresses at the end of the node's network an addon may give away, and how many at the very end it leaves.
_ADDRESSES, _SPARED = 50, 5
_LEAST_NETWORK = 64


def templates(folder: str) -> tuple[str, ...]:
    """The texts of an addon's manifests, in the order in which they are applied; none for no folder."""
    return (
        tuple(path.read_text(encoding="utf-8") for path in sorted((FOLDER / folder).glob("*.yaml"))) if folder else ()
    )


def waves(addon: str, texts: tuple[str, ...], values: Mapping[str, str]) -> tuple[tuple[Object, ...], ...]:
    """The objects of each text with the values inserted, labelled as the addon's."""
    return tuple(
        tuple(_labelled(addon, body) for body in parse_manifest(string.Template(text).substitute(values)))
        for text in texts
    )


def address_range(network: str | None, node_ip: str | None) -> str:
    """Addresses of the node's network that Docker gives to nobody; machine error where there is no room for them."""
    known = network or (f"{node_ip}/24" if node_ip else None)
    if known is None:
        raise machine_error(
            "ADDON_NETWORK",
            "metallb needs free addresses beside the node's, and the node's is not known",
            hints=("leave metallb out of cluster.addons", "todo-deploy doctor"),
        )
    block = ipaddress.ip_network(known, strict=False)
    if block.num_addresses < _LEAST_NETWORK:
        raise machine_error(
            "ADDON_NETWORK",
            f"the node's network {block} has too few addresses for metallb",
            hints=("leave metallb out of cluster.addons, or use a larger network",),
        )
    last = block.broadcast_address - _SPARED
    return f"{last - _ADDRESSES}-{last}"


def _labelled(addon: str, body: Object) -> Object:
    """The object with the label, and what its controllers make of it too."""
    metadata = body["metadata"]
    made = {**body, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), ADDON_LABEL: addon}}}
    template = (body.get("spec") or {}).get("template")
    return {**made, "spec": {**body["spec"], "template": _labelled(addon, template)}} if template else made
