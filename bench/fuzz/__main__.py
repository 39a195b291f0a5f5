"""`make fuzz`: so many mutated inputs of each kind; the table of exit codes goes to bench/results/fuzz.md.

python -m bench.fuzz [--inputs 10000] [--seed 1] [--kind NAME …]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from random import Random

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bench.fuzz.home import home
from bench.fuzz.kinds import KINDS
from bench.report import recorded

_SHARE = 500
"""Inputs that one process tries before it takes the next share."""
_MOST_INPUT, _LAST_LINES, _WIDEST = 4000, 24, 240


@dataclass
class Share:
    """What came of some inputs of one kind."""

    kind: str
    seconds: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """The number of kinds of input that end with exit code 1 or a traceback."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="only this kind")
    asked = parser.parse_args(argv)
    kinds = asked.kind or list(KINDS)
    whole = asked.kind is None and asked.inputs >= 10_000
    with recorded("fuzz", "Mutated input", "make fuzz", whole=whole):
        return _table(kinds, asked.inputs, asked.seed)


def _table(kinds: Sequence[str], inputs: int, seed: int) -> int:
    begun = time.monotonic()
    shares = {kind: list(_shares(kind, inputs, seed)) for kind in kinds}
    found = {kind: Share(kind) for kind in kinds}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for share in pool.map(_tried, [one for several in shares.values() for one in several]):
            total = found[share.kind]
            total.seconds += share.seconds
            total.codes += share.codes
            total.bad += share.bad
    codes = sorted({code for share in found.values() for code in share.codes} | {0, 1, 2})
    print(f"Seed {seed}; {sum(share.codes.total() for share in found.values())} inputs in all, "
          f"{time.monotonic() - begun:.0f} s.\n")  # fmt: skip
    print("| input | tried | " + " | ".join(f"exit {code}" for code in codes) + " | seconds |")
    print("|---|---:|" + "---:|" * (len(codes) + 1))
    for share in found.values():
        row = " | ".join(str(share.codes[code]) for code in codes)
        print(f"| {share.kind} | {share.codes.total()} | {row} | {share.seconds:.0f} |")
    wrong = [share for share in found.values() if share.bad]
    print(f"\nExit code 1 or a traceback: {sum(len(share.bad) for share in wrong)}.")
    for share in wrong:
        for one in share.bad[:5]:
            print(f"\n{share.kind}: {one}", file=sys.stderr)
    return len(wrong)


def _shares(kind: str, inputs: int, seed: int) -> Iterator[tuple[str, int, int]]:
    for number, first in enumerate(range(0, inputs, _SHARE)):
        yield kind, min(_SHARE, inputs - first), seed * 1_000_000 + number


def _tried(share: tuple[str, int, int]) -> Share:
    kind, inputs, seed = share
    made, begun = Share(kind), time.monotonic()
    with home() as here:

        @hypothesis.seed(seed)
        @settings(max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(st.integers(0, 2**64 - 1))
        def attempt(number: int) -> None:
            here.reset()
            tried = KINDS[kind](here, Random(number))
            made.codes[tried.code] += 1
            if tried.bad:
                made.bad.append(f"{tried.what[:_MOST_INPUT]}\n{_end(here.trace() or tried.said)}")

        attempt()
    made.seconds = time.monotonic() - begun
    return made


def _end(trace: str) -> str:
    """The last frames of a traceback and the error, which may quote a long input."""
    lines = [line[:_WIDEST] for line in trace.splitlines() if line.strip(" ^~")]
    return "\n".join(lines[-_LAST_LINES:])


if __name__ == "__main__":
    sys.exit(min(main(), 1))
