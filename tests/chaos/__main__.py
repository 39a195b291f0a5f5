"""`python -m tests.chaos kills|faults`: the tables of issue 5, and exit code 1 when a row of them is bad."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos import disk
from tests.chaos.deployment import deployment
from tests.chaos.faults import FAULTS, Fault, refusal, try_fault
from tests.chaos.kills import Killed, Spans, kill_at, rehearse
from tests.chaos.points import Point, make_points
from tests.cluster import PROFILE


def main(words: Sequence[str] | None = None) -> int:
    """The table is printed; 0 when every row of it is good."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["kills", "faults", "disk"], default="kills")
    parser.add_argument("--seed", type=int, default=20261121, help="points are drawn from it (default: %(default)s)")
    parser.add_argument("--points", type=int, default=41, help="kills of `up` (default: %(default)s)")
    parser.add_argument("--rollbacks", type=int, default=10, help="kills of `rollback` (default: %(default)s)")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="only these points, or these faults")
    parser.add_argument("--whole-host", action="store_true", help="also faults that all containers of the machine feel")
    parser.add_argument("--disk", type=Path, help="`disk`: the file that the new profile's disk will be in")
    parser.add_argument("--gib", type=int, default=8, help="`disk`: its size (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the points and touch nothing")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    asked = parser.parse_args(words)
    if asked.what == "disk":
        print(f"profile {PROFILE}: /var will be on {disk.make(asked.disk, asked.gib)}, {asked.gib} GiB")
        return 0
    if asked.what == "faults":
        return _faults([one for at, one in enumerate(FAULTS, 1) if not asked.only or at in asked.only], asked)
    points = make_points(asked.seed, asked.points, asked.rollbacks)
    if asked.only:
        points = tuple(one for one in points if one.number in asked.only)
    if asked.list:
        for point in points:
            print(_point(point))
        return 0
    return _kills(asked.seed, points, keep=asked.keep)


def _kills(seed: int, points: Sequence[Point], *, keep: bool) -> int:
    begun, rows, spans = time.monotonic(), [], Spans()
    print(f"seed {seed}, {len(points)} points, cluster {PROFILE}")
    with deployment(keep) as made:
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
    bad = [row for row in rows if not row.ok]
    print(f"\n{len(rows) - len(bad)} of {len(rows)} ended healthy; {time.monotonic() - begun:.0f} s in all")
    return 1 if bad else 0


def _faults(faults: Sequence[Fault], asked: argparse.Namespace) -> int:
    begun, rows, skipped = time.monotonic(), [], 0
    print(f"{len(faults)} faults, cluster {PROFILE}")
    with deployment(asked.keep) as made:
        print("\n| fault | the `up` under way | seconds | the next `up` | seconds |")
        print("|---|---|--:|---|--:|", flush=True)
        for fault in faults:
            why = "needs --whole-host" if fault.whole_host and not asked.whole_host else refusal(fault, made.project)
            if why:
                skipped += 1
                print(f"| {fault.name} | not run: {why} | | | |", flush=True)
                continue
            row = try_fault(fault, made)
            rows.append(row)
            outcome = "healthy" if row.ok else "BAD"
            print(
                f"| {fault.name} | {row.told} | {row.seconds:.1f} s | {outcome} | {row.next_seconds:.1f} s |",
                flush=True,
            )
            for complaint in row.complaints:
                print(f"  {fault.name}: {complaint}", file=sys.stderr, flush=True)
            if not row.ok:
                made.up("repair")
    bad = [row for row in rows if not row.ok]
    seconds = time.monotonic() - begun
    print(f"\n{len(rows) - len(bad)} of {len(rows)} as they must be, {skipped} not run; {seconds:.0f} s in all")
    return 1 if bad else 0


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
