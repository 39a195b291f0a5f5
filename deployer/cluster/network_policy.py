"""Whether a cluster's network plugin enforces NetworkPolicies: the API server takes them in any case.

A plugin comes to its nodes as pods of a DaemonSet that put its files into the node's folders for network plugins. Where
there are none, the node's own configuration is at work (Minikube writes one for the bridge plugin), which enforces
nothing. Nor does a plugin of which no pod is ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployer.core.ports import Object
from deployer.status.objects import is_ready

_FOLDERS = ("/etc/cni", "/opt/cni")
# A part of the DaemonSet's name → whether what it installs enforces policies. kindnet does in its newer versions only.
_KNOWN = {
    "antrea": True, "calico": True, "canal": True, "cilium": True, "kube-network-policies": True, "kube-ovn": True,
    "kube-router": True, "weave": True, "bridge": False, "flannel": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Enforcement:
    """Whether NetworkPolicies are enforced (None: not known), and the reason as a clause."""

    enforced: bool | None
    why: str

    @property
    def words(self) -> str:
        """For tables and warnings."""
        state = {True: "enforced", False: "not enforced here", None: "not known to be enforced"}[self.enforced]
        return f"{state}: {self.why}"


def enforcement(pods: Iterable[Object]) -> Enforcement:
    """What the cluster's pods, those of all namespaces, say about it."""
    pods = list(pods)
    plugins = sorted({name for pod in pods if (name := _plugin(pod))})
    verdicts = {name: next((known for part, known in _KNOWN.items() if part in name), None) for name in plugins}
    enforcing = [name for name, verdict in verdicts.items() if verdict]
    unknown = [name for name, verdict in verdicts.items() if verdict is None]
    ready = {_plugin(pod) for pod in pods if is_ready(pod)}
    at_work = [name for name in enforcing if name in ready]
    if at_work:
        return Enforcement(True, f"by {', '.join(at_work)}")
    if enforcing:
        return Enforcement(False, f"{', '.join(enforcing)} would, but none of its pods is ready")
    if unknown:
        return Enforcement(None, f"nothing is known here about the network plugin {', '.join(unknown)}")
    if plugins:
        return Enforcement(False, f"the network plugin {', '.join(plugins)} does not")
    return Enforcement(False, "no network plugin is installed besides the node's own, which does not")


def _plugin(pod: Object) -> str:
    """The DaemonSet of a pod that puts or runs a network plugin on its node, else nothing."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    owner = next((one for one in metadata.get("ownerReferences") or () if one.get("kind") == "DaemonSet"), None)
    if owner is None:
        return ""
    paths = [str((one.get("hostPath") or {}).get("path") or "") for one in spec.get("volumes") or ()]
    known = any(verdict and part in owner["name"] for part, verdict in _KNOWN.items())
    return str(owner["name"]) if known or any(path.startswith(_FOLDERS) for path in paths) else ""
