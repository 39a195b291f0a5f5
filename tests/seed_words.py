"""What the state words of the five data models mean, by document, entity and word: tests/data/seed_words.yaml."""

from __future__ import annotations

from enum import Enum

import yaml

from deployer.status import phases
from tests import DATA


class ReleasePhase(Enum):
    """A release's state, in Helm's own words."""

    UNKNOWN = "unknown"
    DEPLOYED = "deployed"
    UNINSTALLED = "uninstalled"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNINSTALLING = "uninstalling"
    PENDING_INSTALL = "pending-install"
    PENDING_UPGRADE = "pending-upgrade"
    PENDING_ROLLBACK = "pending-rollback"


class Absence(Enum):
    """An object that is not in the cluster, so that no phase applies."""

    ABSENT = "absent"


ROWS = yaml.safe_load((DATA / "seed_words.yaml").read_text())


def _state(name: str) -> Enum:
    kind, _, member = name.partition(".")
    own: dict[str, type[Enum]] = {"ReleasePhase": ReleasePhase, "Absence": Absence}
    state: Enum = (own.get(kind) or getattr(phases, kind))[member]
    return state


SEED_WORDS = {
    (row["document"], row["entity"], word): _state(name) for row in ROWS for word, name in row["words"].items()
}
"""Document, entity and word → the state of ours; a name of none fails here."""
