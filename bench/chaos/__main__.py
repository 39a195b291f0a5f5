"""`python -m bench.chaos kills|faults|all`: tables of killed and disturbed runs; exit code 1 when a row is bad."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.chaos import disk
from bench.chaos.deployment import Deployment, deployment
from bench.chaos.faults import FAULTS, Fault, refusal, try_fault
from bench.chaos.kills import Killed, Spans, kill_at, rehearse
from bench.chaos.points import Point, make_points
from bench.report import recorded
from tests.cluster import PROFILE


def main(words: Sequence[str] | None = None) -> int:
    """The tables are printed; 0 when every row of them is good."""
    asked = _parser().parse_args(words)
    if asked.what == "disk":
        print(f"profile {PROFILE}: /var will be on {disk.make(asked.disk, asked.gib)}, {asked.gib} GiB")
        return 0
    every = make_points(asked.seed, asked.points, asked.rollbacks)
    points = [one for one in every if not asked.only or one.number in asked.only]
    faults = [one for at, one in enumerate(FAULTS, 1) if not asked.only_faults or at in asked.only_faults]
    if asked.list:
        for line in (*map(_point, points), *(f"fault {FAULTS.index(one) + 1}: {one.name}" for one in faults)):
            print(line)
        return 0
    begun = time.monotonic()
    whole = asked.what == "all" and len(points) == len(every) and len(faults) == len(FAULTS)
    title = "Killed at seeded points, and disturbed under way"
    with recorded("chaos", title, "make chaos", whole=whole), deployment(asked.keep) as made:
        bad = _kills(asked.seed, points, made) if asked.what != "faults" else 0
        bad += _faults(faults, made, whole_host=asked.whole_host) if asked.what != "kills" else 0
        print(f"{time.monotonic() - begun:.0f} s in all")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["kills", "faults", "all", "disk"], default="all")
    parser.add_argument("--seed", type=int, default=20261121, help="points are drawn from it (default: %(default)s)")
    parser.add_argument("--points", type=int, default=41, help="kills of `up` (default: %(default)s)")
    parser.add_argument("--rollbacks", type=int, default=10, help="kills of `rollback` (default: %(default)s)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="only these points")
    parser.add_argument("--only-faults", type=int, nargs="+", metavar="N", help="only these faults")
    parser.add_argument("--whole-host", action="store_true", help="also faults that all containers of the machine feel")
    parser.add_argument("--list", action="store_true", help="print points and faults, and touch nothing")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    parser.add_argument("--disk", type=Path, help="`disk`: the file that the new profile's disk will be in")
    parser.add_argument("--gib", type=int, default=8, help="`disk`: its size (default: %(default)s)")
    return parser


def _kills(seed: int, points: Sequence[Point], made: Deployment) -> int:
    """How many points ended badly."""
    rows: list[Killed] = []
    spans = Spans()
    print(f"seed {seed}, {len(points)} points, cluster {PROFILE}", flush=True)
    for kind, seconds in rehearse(made, spans, back=any(one.command == "rollback" for one in points)):
        print(f"rehearsal {kind}: {seconds:.1f} s", flush=True)
    print("\n| # | point | died in | after | programs | outcome | next run |")
    print("|--:|---|---|--:|---|---|--:|", flush=True)
    for point in points:
        row = kill_at(point, made, spans)
        rows.append(row)
        print(_row(row), flush=True)
        for complaint in row.complaints:
            print(f"  point {point.number}: {complaint}", file=sys.stderr, flush=True)
        if not row.ok:
            # The points after it are judged on a deployment in order.
            made.up(f"repair-{point.number}")
    bad = sum(not row.ok for row in rows)
    print(f"\n{len(rows) - bad} of {len(rows)} ended healthy", flush=True)
    return bad


def _faults(faults: Sequence[Fault], made: Deployment, *, whole_host: bool) -> int:
    """How many faults ended badly."""
    bad = done = 0
    print(f"\n{len(faults)} faults, cluster {PROFILE}")
    print("\n| fault | the `up` under way | seconds | the next `up` | seconds |")
    print("|---|---|--:|---|--:|", flush=True)
    for fault in faults:
        why = "needs --whole-host" if fault.whole_host and not whole_host else refusal(fault, made.project)
        if why:
            print(f"| {fault.name} | not run: {why} | | | |", flush=True)
            continue
        row = try_fault(fault, made)
        done += 1
        bad += not row.ok
        outcome = "healthy" if row.ok else "BAD: " + "; ".join(row.complaints)[:200].replace("|", "/")
        cells = (fault.name, row.result, f"{row.seconds:.1f} s", outcome, f"{row.next_seconds:.1f} s")
        print(f"| {' | '.join(cells)} |", flush=True)
        for complaint in row.complaints:
            print(f"  {fault.name}: {complaint}", file=sys.stderr, flush=True)
        if not row.ok:
            made.up("repair")
    print(f"\n{done - bad} of {done} as they must be, {len(faults) - done} not run", flush=True)
    return bad


def _point(point: Point) -> str:
    whom = "with children" if point.children else "parent alone"
    before = "" if point.before == "running" else f", {point.before}"
    return f"{point.number}: {point.command} in {point.stage} at {point.part:.0%}, {whom}, {point.change}{before}"


def _row(row: Killed) -> str:
    point = row.point
    aim = f"{point.command}, {point.change}, {point.stage} at {point.part:.0%}"
    aim += "" if point.before == "running" else f", {point.before}"
    whom = "all: " if point.children else "parent; left: "
    died, programs = ", ".join(row.died_in), whom + (", ".join(row.programs) or "none")
    outcome = "healthy" if row.ok else "BAD: " + "; ".join(row.complaints)[:200].replace("|", "/")
    return f"| {point.number} | {aim} | {died} | {row.after:.1f} s | {programs} | {outcome} | {row.seconds:.1f} s |"


if __name__ == "__main__":
    sys.exit(main())
