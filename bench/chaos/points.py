"""Where runs are killed: points drawn from a seed over all stages, half of them with everything the run started."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Command = Literal["up", "rollback"]
Before = Literal["running", "stopped", "unknown toolchain"]
"""How things are when the run begins: as usual, its cluster stopped, or its toolchain's stamp lost."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A stage to be hit, its share of the points, what is changed before, and how things are before."""

    stage: str
    share: int
    changes: tuple[str, ...]
    before: Before = "running"


@dataclass(frozen=True, slots=True)
class Point:
    """One kill: in which stage, after which part of its usual time, and whether the children are killed too."""

    number: int
    command: Command
    stage: str
    part: float
    children: bool
    change: str
    before: Before = "running"


_ANY = ("line", "value", "secret", "page")
UP = (
    Aim("toolchain", 2, _ANY),
    Aim("toolchain", 3, _ANY, "unknown toolchain"),
    Aim("cluster", 2, _ANY),
    Aim("cluster", 5, _ANY, "stopped"),
    Aim("images", 7, ("line", "page")),
    Aim("secrets", 4, ("secret",)),
    Aim("releases", 8, _ANY),
    Aim("rollout", 5, _ANY),
    Aim("urls", 2, _ANY),
    Aim("stability", 3, _ANY),
)
ROLLBACK = (
    Aim("toolchain", 1, _ANY),
    Aim("cluster", 1, _ANY),
    Aim("rollback", 4, _ANY),
    Aim("rollout", 2, _ANY),
    Aim("urls", 1, _ANY),
    Aim("stability", 1, _ANY),
)
_AIMS: Mapping[Command, tuple[Aim, ...]] = {"up": UP, "rollback": ROLLBACK}


def make_points(seed: int, ups: int, rollbacks: int) -> tuple[Point, ...]:
    """The seed's points: every stage has its share, and every second point of each aim takes the children too."""
    chance = random.Random(seed)
    points: list[Point] = []
    counts: tuple[tuple[Command, int], ...] = (("up", ups), ("rollback", rollbacks))
    for command, count in counts:
        for aim, number in _shared(_AIMS[command], count):
            first = chance.random() < 0.5
            for at in range(number):
                # One point in each slice of the stage's time, so that its beginning and its end are hit too.
                part = (at + chance.random()) / number
                change = chance.choice(aim.changes)
                points.append(Point(0, command, aim.stage, part, (at % 2 == 0) is first, change, aim.before))
    balanced = _balanced(points)
    return tuple(
        Point(at, one.command, one.stage, one.part, one.children, one.change, one.before)
        for at, one in enumerate(balanced, 1)
    )


def _shared(aims: tuple[Aim, ...], count: int) -> list[tuple[Aim, int]]:
    """Each aim's number of points for this count, in proportion to its share; the largest remainders round up."""
    total = sum(aim.share for aim in aims)
    exact = [(aim, count * aim.share / total) for aim in aims]
    given = [int(number) for _, number in exact]
    by_rest = sorted(range(len(aims)), key=lambda at: given[at] - exact[at][1])
    for at in by_rest[: count - sum(given)]:
        given[at] += 1
    return [(aim, number) for (aim, _), number in zip(exact, given, strict=True) if number]


def _balanced(points: list[Point]) -> list[Point]:
    """The points with the children killed in one half of them, whatever odd shares left over."""
    made = list(points)
    surplus = sum(1 if one.children else -1 for one in made) // 2
    for at, one in enumerate(made):
        if surplus and one.children is (surplus > 0):
            made[at] = Point(0, one.command, one.stage, one.part, not one.children, one.change, one.before)
            surplus -= 1 if surplus > 0 else -1
    return made
