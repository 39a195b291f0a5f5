"""An application's revisions: each is one set of releases, images and Secrets that ran together, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

KEPT = 10
"""Revisions that are remembered: as many as Helm keeps of a release, so that each can be gone back to."""

Verdict = Literal["unfinished", "verified", "failed"]


@dataclass(frozen=True, slots=True)
class KeptSecretRef:
    """A Secret of a revision: the name pods refer to, and the immutable copy that holds its content."""

    namespace: str
    served: str
    copy: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of the application; `at` is seconds since the epoch, `why` what made it."""

    number: int
    run: str
    at: float
    who: str
    why: str
    commit: str = ""
    dirty: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[KeptSecretRef, ...] = ()
    releases: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict = "unfinished"
    cause: str = ""
    seconds: float = 0.0


def begun(history: Sequence[Entry], entry: Entry) -> tuple[Entry, ...]:
    """The history with a new revision at its end, the oldest beyond the kept ones left out."""
    number = history[-1].number + 1 if history else 1
    return tuple([*history, replace(entry, number=number)][-KEPT:])


def judged(history: Sequence[Entry], verdict: Verdict, cause: str, seconds: float) -> tuple[Entry, ...]:
    """The history whose last revision has its verdict."""
    *before, last = history
    return (*before, replace(last, verdict=verdict, cause=cause, seconds=round(seconds, 1)))


def target(history: Sequence[Entry], wanted: int | None = None) -> Entry | None:
    """The revision to go back to: the one asked for, or the newest verified one before the last."""
    if wanted is not None:
        return next((entry for entry in history if entry.number == wanted), None)
    return next((entry for entry in reversed(history[:-1]) if entry.verdict == "verified"), None)


def to_wire(entry: Entry) -> dict[str, Any]:
    """The entry as plain JSON."""
    return asdict(entry)


def from_wire(document: Mapping[str, Any]) -> Entry:
    """The entry that the JSON holds; fields of a newer version of the tool are passed over."""
    known = {name: document[name] for name in Entry.__dataclass_fields__ if name in document}
    return Entry(
        **{
            **known,
            "secrets": tuple(KeptSecretRef(**one) for one in known.get("secrets", ())),
        }
    )
