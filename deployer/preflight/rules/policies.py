"""The rule on NetworkPolicies: what is written there holds only where the cluster's network plugin sees to it."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.cluster.network_policy import enforcement
from deployer.preflight.rules.model import Breach, Place, Rule, Subject, label_of


def enforced(subject: Subject) -> Iterator[Breach]:
    """NetworkPolicies for a running cluster that does not enforce them, nor will with the addons asked for."""
    cluster, asked = subject.cluster, subject.loaded.spec.cluster
    if cluster is None or cluster.estimated or (asked.provider == "minikube" and "network-policies" in asked.addons):
        return
    found = enforcement(cluster.pods)
    if found.enforced:
        return
    labels = [(one.release.name, label_of(body)) for one, body in subject.objects("NetworkPolicy")]
    if labels:
        release, first = labels[0]
        yield Breach(
            f"NetworkPolicies are {found.words}",
            Place(release, first),
            ", ".join(label for _, label in labels),
            (
                "they do no harm; cluster.addons: [network-policies] enforces them",
                "so does a cluster that is made with such a plugin (minikube start --cni=calico)",
            ),
        )


RULES = (
    Rule("NETWORK_POLICY_ENFORCED", "S4 Security Requirements (network policies)", "warning",
         "NetworkPolicies are for a cluster whose network plugin enforces them.", enforced),
)  # fmt: skip
