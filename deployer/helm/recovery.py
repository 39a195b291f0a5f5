"""Helm revisions that a killed helm left unfinished: whose they are, and putting them right.

Whoever heals holds the application's Lease, and on this host its lock, which a killed run's helm goes on holding
until it ends (deployer.state.lock). So a revision with the label of a run of ours has nobody at work on it any more:
on this host at once, on another one when that run had time to notice that it lost the Lease.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from deployer.core.errors import refused
from deployer.core.events import Item, ItemState
from deployer.core.ports import VERDICT_LABEL, KubePort, Revision
from deployer.core.process import has_ended, machine
from deployer.core.steps import Clock, Steps
from deployer.helm import storage
from deployer.status.objects import labels_of

_OWNER = re.compile(r"(?P<machine>.+)\.(?P<pid>\d+)\.(?P<revision>\d+)")
# Twice the Lease's duration, and some seconds in which a helm that lost its connection gives up.
_OURS_SECONDS = 90.0
# A helm that is not ours may still be at work on a pending revision for about its own time-out.
_FOREIGN_SECONDS = 600.0
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose helm made a pending revision: that of a run of ours here or elsewhere, or one nobody knows."""

    who: Literal["here", "elsewhere", "foreign"]
    pid: int = 0


def owner_label(revision: int) -> str:
    """This process as the owner of a revision that it makes, in the characters of a label."""
    return f"{machine()}.{os.getpid()}.{revision}"


def owner_of(label: str, revision: int) -> Owner:
    """Whose the revision is; a label that names another revision was handed on by Helm and says nothing."""
    found = _OWNER.fullmatch(label)
    if found is None or int(found["revision"]) != revision:
        return Owner("foreign")
    return Owner("here" if found["machine"] == machine() else "elsewhere", int(found["pid"]))


def is_unfinished(status: str) -> bool:
    """Whether a revision of this status is one that helm is at work on, or left when it was killed.

    Helm upgrades none of them; one that is being uninstalled it calls a release without deployed revisions.
    """
    return status.startswith("pending-") or status == "uninstalling"


def heal(latest: Revision, stage: str, kube: KubePort, clock: Clock) -> Steps[None]:
    """The pending revision is marked failed, so that helm goes on from it; refused while a foreign helm may be at work.

    A run of ours that may just be ending is waited for, for a minute and a half at most.
    """
    name = storage.secret_name(latest.release, latest.revision)
    shown = False
    begun = clock.monotonic()
    while True:
        secret = kube.get("Secret", latest.namespace, name)
        labels = labels_of(secret)
        if secret is None or not is_unfinished(str(labels.get("status", ""))):
            return  # it has come to its end meanwhile
        label = str(labels.get(storage.OWNER_LABEL, ""))
        owner = owner_of(label, latest.revision)
        # The time in a revision is that of the machine whose helm made it: another machine's clock may be any other.
        age = clock.monotonic() - begun if owner.who == "elsewhere" else clock.now() - _began(latest)
        left = _grace_period(owner) - age
        if left <= 0:
            kube.replace(storage.with_status(secret, "failed", f"left {latest.status}; healed by todo-deploy"))
            # One that a rollback made has its target's label, and a verdict that is not its own.
            storage.label(latest.release, latest.namespace, latest.revision, {VERDICT_LABEL: "unfinished"}, kube)
            return
        if owner.who == "foreign":
            raise refused(
                "RELEASE_BUSY",
                f"release `{latest.release}` is {latest.status}: another helm process may be working on it",
                detail=f"it is taken for dead in {left:.0f} s" + (f"; its label is {label}" if label else ""),
                hints=(f"wait, then: todo-deploy {'rollback' if stage == 'rollback' else 'up'}",),
            )
        if not shown:
            shown = True
            yield Item(stage, latest.release, ItemState.RUNNING, f"waiting for the helm of {label} to end")
        clock.sleep(_TICK_SECONDS)


def _grace_period(owner: Owner) -> float:
    """Seconds after which its owner is no longer at work: from the revision's begin, or our first look at it."""
    if owner.who == "foreign":
        return _FOREIGN_SECONDS
    return float("-inf") if owner.who == "here" and has_ended(owner.pid) else _OURS_SECONDS


def _began(latest: Revision) -> float:
    return float(latest.updated) if latest.updated.isdigit() else 0.0
