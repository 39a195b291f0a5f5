"""An application's revisions: each is one set of releases, images and Secrets that ran together, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from deployer.config.spec import Rollout
from deployer.plan import CorsPlan, UrlPlan

KEPT = 10
"""Revisions that are remembered, besides the newest verified ones."""

KEPT_VERIFIED = 3
"""Verified revisions that are remembered however many failed since."""

Verdict = Literal["unfinished", "verified", "failed", "superseded"]
"""`superseded`: another revision came before it had a verdict."""


@dataclass(frozen=True, slots=True)
class KeptSecretRef:
    """A Secret of a revision: the name pods refer to, and the immutable copy that holds its content."""

    namespace: str
    served: str
    copy: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One revision of the application; `at` is seconds since the epoch, `why` what made it.

    `inputs` are the digests of the releases' charts and values; `schema` the migrations that each image brings, with
    the short digest of each; `unproven` the releases that were carried over from a revision where nothing verified
    them: the verdict is not about those. `urls`, `cors` and `rollout` are how it was judged, and will be when it runs
    again; None and empty in a record of an earlier version, which did not keep them.
    """

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
    inputs: Mapping[str, str] = field(default_factory=dict)
    schema: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unproven: tuple[str, ...] = ()
    urls: tuple[UrlPlan, ...] | None = None
    cors: tuple[CorsPlan, ...] = ()
    rollout: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict = "unfinished"
    cause: str = ""
    seconds: float = 0.0
    back_to: int = 0
    """The revision that a rollback made anew; 0 for what an `up` made."""

    @property
    def sound(self) -> bool:
        """Whether all of it was verified, so that an automatic rollback may choose it."""
        return self.verdict == "verified" and not self.unproven

    def rules(self, default: Rollout) -> Rollout:
        """How its rollout was judged; the default where the record does not say, or another version wrote it."""
        try:
            return Rollout.model_validate(self.rollout) if self.rollout else default
        except ValueError:
            return default

    @property
    def verdict_text(self) -> str:
        """The verdict with its cause or its limits, in the words of the history."""
        if self.verdict == "verified" and self.unproven:
            return f"verified but for {', '.join(self.unproven)}"
        return f"{self.verdict}: {self.cause}" if self.cause else self.verdict


def begun(history: Sequence[Entry], entry: Entry) -> tuple[Entry, ...]:
    """The history with a new revision at its end, the oldest left out; failed ones push no sound one out."""
    number = history[-1].number + 1 if history else 1
    before = [replace(one, verdict="superseded") if one.verdict == "unfinished" else one for one in history]
    every = [*before, replace(entry, number=number)]
    kept = {one.number for one in (*every[-KEPT:], *[one for one in every if one.sound][-KEPT_VERIFIED:])}
    return tuple(one for one in every if one.number in kept)


def judged(history: Sequence[Entry], verdict: Verdict, cause: str, seconds: float) -> tuple[Entry, ...]:
    """The history whose last revision has its verdict."""
    *before, last = history
    return (*before, replace(last, verdict=verdict, cause=cause, seconds=round(seconds, 1)))


def without_gone(history: Sequence[Entry], release: str, revision: int) -> tuple[Entry, ...]:
    """The history without revisions that a release had before it was uninstalled: it now counts anew up to this one."""
    return tuple(one for one in history if one.releases.get(release, 0) < revision)


def target(
    history: Sequence[Entry], wanted: int | None = None, cut_short: Mapping[str, str] | None = None
) -> Entry | None:
    """The revision to roll back to: the one asked for, or the newest sound one before the last that is not the same.

    A rollback that was killed is carried on. `cut_short` are the inputs of what a killed run has applied and the
    history does not know: those of an earlier revision are such a rollback, others an `up`, before which the last was.
    """
    if wanted is not None:
        return next((entry for entry in history if entry.number == wanted), None)
    earlier = [entry for entry in history[:-1] if entry.sound]
    if cut_short is not None:
        carried_on = [entry for entry in earlier if entry.inputs == cut_short]
        return next(reversed(carried_on or [entry for entry in history if entry.sound]), None)
    last = history[-1] if history else None
    if last is not None and last.back_to and last.verdict == "unfinished":
        carried_on = [entry for entry in history[:-1] if entry.number == last.back_to]
        if carried_on:
            return carried_on[0]
    return next((entry for entry in reversed(earlier) if not same(entry, history[-1])), None)


def same(one: Entry, other: Entry) -> bool:
    """Whether both are made of the same charts, values, images and Secrets, so that neither can be better."""
    return bool(one.inputs) and (one.inputs, one.images, set(one.secrets)) == (
        other.inputs, other.images, set(other.secrets)
    )  # fmt: skip
