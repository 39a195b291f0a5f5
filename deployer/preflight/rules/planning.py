"""The capacity plan: what all pods request and may use, against what the cluster has for applications."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from deployer.preflight.rules.capacity import RESERVED, SYSTEM, loads, used_by_others
from deployer.preflight.rules.model import Subject
from deployer.preflight.rules.quantities import shown


@dataclass(frozen=True, slots=True)
class Share:
    """One resource: sums over all pods, what is left for applications, and all limits' share of that in per cent."""

    resource: str
    pods: int
    requests: str
    limits: str
    others: str
    """Limits of what else runs there; empty where nothing does."""
    available: str
    percent: int | None
    """None where the system's own part leaves nothing."""
    target: int

    @property
    def words(self) -> str:
        """One line, such as `cpu: 6 pods request 900m, limits 1800m of 3000m for applications: 60 % (at most 70 %)`."""
        share = "more than all" if self.percent is None else f"{self.percent} %"
        beside = f" and others' {self.others}" if self.others else ""
        return (f"{self.resource}: {self.pods} pods request {self.requests}, limits {self.limits}{beside} of "
                f"{self.available} for applications: {share} (at most {self.target} %)")  # fmt: skip


def capacity_plan(subject: Subject) -> tuple[Share, ...]:
    """CPU and memory of everything the releases run for ever; nothing where the cluster's size is not known."""
    cluster = subject.cluster
    if cluster is None:
        return ()
    found = [one for one in loads(subject) if one.pods]
    beside = used_by_others(subject, cluster, "limits")
    shares = []
    for resource, kept in RESERVED.items():
        requests, limits = (
            sum((one.pods * sums.get(resource, Fraction(0)) for one, sums in pairs), Fraction(0))
            for pairs in ([(one, one.one) for one in found], [(one, one.most) for one in found])
        )
        others = sum(
            (sums.get(resource, Fraction(0)) for place, sums in beside.items() if place != SYSTEM), Fraction(0)
        )
        left = max(cluster.allocatable.get(resource, Fraction(0)) - kept, Fraction(0))
        percent = round((limits + others) * 100 / left) if left else None
        asked, most, free = (shown(amount, resource) for amount in (requests, limits, left))
        theirs = shown(others, resource) if others else ""
        target = subject.loaded.spec.rules.max_limit_share
        shares.append(Share(resource, sum(one.pods for one in found), asked, most, theirs, free, percent, target))
    return tuple(shares)
