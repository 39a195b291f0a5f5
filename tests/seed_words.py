"""What the state words of the five data models mean, by document, entity and word: tests/data/seed_words.yaml."""

from __future__ import annotations

from enum import Enum

import yaml

from deployer.status import phases
from tests import DATA

ROWS = yaml.safe_load((DATA / "seed_words.yaml").read_text())


def _state(name: str) -> Enum:
    kind, _, member = name.partition(".")
    state: Enum = getattr(phases, kind)[member]
    return state


SEED_WORDS = {
    (row["document"], row["entity"], word): _state(name) for row in ROWS for word, name in row["words"].items()
}
"""Document, entity and word → the state of ours; a name of none fails here."""
