from __future__ import annotations

from typing import Any

import pytest

from deployer.cluster.network_policy import enforcement


def pod(owner: str, folder: str = "", kind: str = "DaemonSet", ready: str = "True") -> dict[str, Any]:
    volumes = [{"name": "cni", "hostPath": {"path": folder}}] if folder else []
    metadata = {"name": f"{owner}-x", "ownerReferences": [{"kind": kind, "name": owner}]}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": metadata, "spec": {"volumes": volumes}, "status": status}


def going(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


PROXY = pod("kube-proxy", "/run/xtables.lock")


@pytest.mark.parametrize(
    ("pods", "enforced", "words"),
    [
        ([], False, "not enforced here: no network plugin is installed besides the node's own"),
        ([PROXY], False, "not enforced here: no network plugin"),
        ([PROXY, pod("kube-flannel-ds", "/etc/cni/net.d")], False, "the network plugin kube-flannel-ds does not"),
        ([PROXY, pod("calico-node", "/opt/cni/bin")], True, "enforced: by calico-node"),
        ([pod("canal", "/etc/cni/net.d"), pod("kube-flannel-ds", "/etc/cni/net.d")], True, "by canal"),
        ([pod("kube-network-policies")], True, "by kube-network-policies"),
        ([PROXY, pod("kube-router")], True, "enforced: by kube-router"),
        ([pod("kube-router", ready="False")], False, "not enforced here: kube-router would, but none of its pods"),
        ([going(pod("kube-router"))], False, "none of its pods is ready"),
        ([going(pod("kube-router")), pod("kube-router")], True, "enforced: by kube-router"),
        ([pod("kube-router", ready="False"), pod("calico-node")], True, "enforced: by calico-node"),
        ([pod("kube-router", ready="False"), pod("kube-router")], True, "enforced: by kube-router"),
        ([pod("kindnet", "/etc/cni/net.d")], None, "not known to be enforced: nothing is known here about"),
        ([pod("mine", "/opt/cni/bin")], None, "plugin mine"),
        ([pod("calico-kube-controllers", kind="ReplicaSet")], False, "not enforced here"),
    ],
)
def test_what_the_clusters_pods_say(pods: list[dict[str, Any]], enforced: bool | None, words: str) -> None:
    found = enforcement(pods)
    assert found.enforced is enforced
    assert words in found.words
