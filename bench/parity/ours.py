"""By `todo-deploy`: validate, plan, up, up again, plan, status, a change, rollback, down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.parity.case import Case
from bench.parity.hand import Machine, Object, holds
from bench.parity.running import TIMED_OUT, Ended

REFUSED = (2, 3, 7)
_LIMITS = {"up": 300.0, "rollback": 300.0, "down": 180.0}


@dataclass(frozen=True, slots=True)
class Step:
    """How one command of ours ended: exit code, codes of its errors, and what its document says."""

    command: str
    code: int
    seconds: float
    codes: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    data: Object = field(default_factory=dict)
    crashed: bool = False

    @property
    def verdict(self) -> str:
        """What the table says of it."""
        if self.code == 0:
            return "works"
        if self.code in (1, TIMED_OUT) or self.crashed:
            return f"CRASH {self.code}" if self.code != TIMED_OUT else "NO END"
        kind = "refused" if self.code in REFUSED else "fails"
        return f"{kind} {self.code} {' '.join(self.codes)}".strip()

    @property
    def kind(self) -> str:
        """`works`, `refused` or `fails`."""
        return "works" if self.code == 0 else "refused" if self.code in REFUSED else "fails"


def run_ours(machine: Machine, case: Case, command: str, *words: str) -> Step:
    """A command of ours ran to its end in the case's folder."""
    more: Sequence[str] = case.arguments.get(command, ())
    asked = ["-m", "deployer", command, *words, *more, "-o", "json", "--progress", "plain",
             "--set", f"cluster.name={machine.profile}"]  # fmt: skip
    ended = machine.runner.run(command, [sys.executable, *asked], limit=_LIMITS.get(command, 90.0))
    return _step(command, ended)


def _step(command: str, ended: Ended) -> Step:
    document = ended.document()
    errors = document.get("errors", [])
    # A pod's own traceback may be in the output, too: ours comes with exit code 1.
    crashed = ended.code != TIMED_OUT and not document
    return Step(
        command, ended.code, ended.seconds,
        tuple(error["code"] for error in errors), tuple(f"{error['title']} ({error['where']})" for error in errors),
        document.get("data") or {}, crashed,
    )  # fmt: skip


def images_of(status: Step) -> dict[str, Any]:
    """Workload → its images, as `status` shows them."""
    return {f"{one['kind']}/{one['name']}": one.get("images") for one in status.data.get("workloads", [])}


def advice_of(validate: Step) -> set[str]:
    """The codes of what `validate` found."""
    return {one["code"] for one in validate.data.get("findings", [])} | set(validate.codes)


def left_of(machine: Machine, token: str, before: frozenset[str]) -> list[str]:
    """What is in the cluster whose name or namespace holds the token and was not there before."""
    return sorted(named_objects(machine, token) - before)


def named_objects(machine: Machine, token: str) -> frozenset[str]:
    """Kind, namespace and name of what holds the token; what Kubernetes makes in each namespace is left out."""
    kinds = ("namespaces,all,configmaps,secrets,serviceaccounts,persistentvolumeclaims,persistentvolumes,leases,"
             "ingresses,networkpolicies,poddisruptionbudgets,roles,rolebindings,clusterroles,clusterrolebindings,"
             "customresourcedefinitions")  # fmt: skip
    columns = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name,C:.spec.claimRef.namespace"
    lines = machine.kubectl("get", kinds, "--all-namespaces", "--no-headers", "-o", columns, limit=90).out.splitlines()
    own = ("kube-root-ca.crt", "default")
    return frozenset(
        " ".join(line.split()[:3])
        for line in lines
        if holds(line, token) and line.split()[2:3] not in ([own[0]], [own[1]])
    )
