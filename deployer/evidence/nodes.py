"""The nodes as a rollout meets them: their conditions, and what is requested of what they have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.status import Object
from deployer.status.objects import dig, name_of, rows

_UNITS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?\d+)?)([numkMGTP]i?|[KE]i|)")


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number; 0 for what is none."""
    found = _QUANTITY.fullmatch(str(text if text is not None else "0").strip())
    return float(found[1]) * _UNITS.get(found[2], 1.0) if found else 0.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """CPUs, and bytes of memory."""

    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class ConditionShape:
    """One of a node's conditions."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What `node_data` says of a node, as a record has it."""

    name: str
    kubelet: str
    conditions: tuple[ConditionShape, ...]
    taints: tuple[str, ...]
    pods: int
    podCapacity: str  # noqa: N815 (a name of the record's JSON)
    allocatable: Amounts
    requests: Amounts
    limits: Amounts


def node_data(nodes: Sequence[Object], pods: Sequence[Object]) -> list[dict[str, Any]]:
    """Each node's conditions, and its CPUs and bytes of memory: allocatable, requested and limited by its pods."""
    return [_node(node, [pod for pod in pods if dig(pod, "spec", "nodeName") == name_of(node)]) for node in nodes]


def node_lines(nodes: Iterable[dict[str, Any]]) -> list[str]:
    """The nodes' data as text."""
    lines: list[str] = []
    for node in nodes:
        lines += [f"node/{node['name']}   {node['pods']} pods of {node['podCapacity']}   kubelet {node['kubelet']}"]
        lines += [
            f"  {one['type']:<20} {one['status']:<8} {one['reason']}: {one['message']}" for one in node["conditions"]
        ]
        lines += [f"  taint {taint}" for taint in node["taints"]]
        lines.append(f"  {'':<8} {'requests':>16} {'limits':>16} {'allocatable':>13}")
        for name, show in (("cpu", cpu_words), ("memory", memory_words)):
            has, asked, most = node["allocatable"][name], node["requests"][name], node["limits"][name]
            share = [f"{show(one)} ({one / has:.0%})" if has else show(one) for one in (asked, most)]
            lines.append(f"  {name:<8} {share[0]:>16} {share[1]:>16} {show(has):>13}")
        lines.append("")
    return lines


def cpu_words(cpus: float) -> str:
    """CPUs as people write them."""
    return f"{cpus:g}" if cpus >= 1 and cpus * 10 % 1 == 0 else f"{cpus * 1000:.0f}m"


def memory_words(size: float) -> str:
    """Bytes in MiB."""
    return f"{size / 2**20:.0f}Mi"


def _node(node: Object, pods: Sequence[Object]) -> dict[str, Any]:
    alive = [pod for pod in pods if dig(pod, "status", "phase") not in ("Succeeded", "Failed")]
    return {
        "name": name_of(node),
        "kubelet": dig(node, "status", "nodeInfo", "kubeletVersion") or "?",
        "conditions": [
            {key: str(row.get(key) or "") for key in ("type", "status", "reason", "message", "lastTransitionTime")}
            for row in rows(node, "status", "conditions")
        ],
        "taints": [
            f"{row.get('key')}={row.get('value', '')}:{row.get('effect')}" for row in rows(node, "spec", "taints")
        ],
        "pods": len(alive),
        "podCapacity": str(dig(node, "status", "allocatable", "pods") or "?"),
        "allocatable": {name: quantity(dig(node, "status", "allocatable", name)) for name in ("cpu", "memory")},
        "requests": {name: sum(_needs(pod, "requests", name) for pod in alive) for name in ("cpu", "memory")},
        "limits": {name: sum(_needs(pod, "limits", name) for pod in alive) for name in ("cpu", "memory")},
    }


def _needs(pod: Object, kind: str, name: str) -> float:
    """Containers run together, ordinary init containers one after the other, sidecars with all that follow."""

    def of(spec: Object) -> float:
        return quantity(dig(spec, "resources", kind, name))

    sidecars, most = 0.0, 0.0
    for spec in rows(pod, "spec", "initContainers"):
        if spec.get("restartPolicy") == "Always":
            sidecars += of(spec)
        else:
            most = max(most, sidecars + of(spec))
    together = sidecars + sum((of(spec) for spec in rows(pod, "spec", "containers")), 0.0)
    return max(together, most)
