"""`python -m bench.rollback`: `rollback` beside what one does by hand, on the same change, in one run.

By hand is `helm rollback` and then `kubectl rollout status` of the one workload that the change rolls; nobody waits for
the others, asks the URLs or brings Secrets back. The stability hold is not counted (`--hold 0s`); the URLs are, and the
table also says what is left without them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe

from bench.report import recorded
from bench.rollbacks.scene import Scene, scene
from tests.cluster import PROFILE
from tests.e2e.project import RELEASE

GOAL = 1.2


def main(words: Sequence[str] | None = None) -> int:
    """The table is printed; 0 when the ratio of the medians of each change is within the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.rollback", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of each change (default: %(default)s)")
    parser.add_argument("--documented", action="store_true", help="probes as documented, not at once and every second")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was deployed is removed
    whole = asked.rounds >= 5 and not asked.documented
    title = "`rollback` beside `helm rollback` and `kubectl rollout status`"
    with recorded("rollback", title, "make rollback-bench", whole=whole):
        return _compare(asked.rounds, documented=asked.documented)


def _compare(rounds: int, *, documented: bool) -> int:
    worst = 0.0
    with scene(soon=not documented) as made:
        probes = "as documented" if documented else "at once and every second"
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"cluster {PROFILE}, probes {probes}, {rounds} pairs of each change, seconds; load {load}\n")
        print("| change | todo-deploy rollback | helm rollback + kubectl rollout status | ratio of medians "
              "| ratio without the URLs |")  # fmt: skip
        print("|---|--:|--:|--:|--:|", flush=True)
        for name, change in (("one config value", _value), ("one line of the backend", _line)):
            laps, by_hand = _pairs(made, change, rounds)
            ours = [lap.seconds for lap in laps]
            ratio = statistics.median(ours) / statistics.median(by_hand)
            rest = statistics.median(lap.seconds - lap.urls for lap in laps) / statistics.median(by_hand)
            worst = max(worst, ratio)
            print(f"| {name} | {_times(ours)} | {_times(by_hand)} | {ratio:.2f} | {rest:.2f} |", flush=True)
        print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    print(f"\ngoal: at most {GOAL}; {'held' if worst <= GOAL else 'MISSED'}")
    return 0 if worst <= GOAL else 1


@dataclass(frozen=True, slots=True)
class Lap:
    """A rollback of ours: seconds in all, and those of them that its URLs took."""

    seconds: float
    urls: float


def _pairs(made: Scene, change: Callable[[Scene], None], rounds: int) -> tuple[list[Lap], list[float]]:
    """The times of going back from a change, each way, taking turns in going first."""
    ours, by_hand = list[Lap](), list[float]()
    for number in range(rounds):
        for way in ("ours", "by hand") if number % 2 == 0 else ("by hand", "ours"):
            good, before = made.project.revision(), made.project.pods()
            change(made)
            made.up("--hold", "0s")
            assert made.project.rolled(before) == {"backend"}
            if way == "ours":
                ours.append(_ours(made))
            else:
                by_hand.append(_by_hand(made, good))
            took = ours[-1].seconds if way == "ours" else by_hand[-1]
            print(f"  {way}: {took:.2f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    return ours, by_hand


def _value(made: Scene) -> None:
    made.overlay({"config": {"data": {"BENCH_NOTE": token_urlsafe(6)}}})


def _line(made: Scene) -> None:
    made.edit(token_urlsafe(6))


def _ours(made: Scene) -> Lap:
    done = made.project.run("rollback", "--hold", "0s", "--progress", "json")
    assert done.returncode == 0, done.stderr[-3000:]
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (urls,) = [one["seconds"] for one in events if one["type"] == "stage_finished" and one["stage"] == "urls"]
    return Lap(done.seconds, urls)


def _by_hand(made: Scene, revision: int) -> float:
    project = made.project
    where = ["--namespace", "default", "--kubeconfig", str(project.kubeconfig)]
    helm = [str(project.toolchain.helm), "rollback", RELEASE, str(revision), *where, "--kube-context", PROFILE]
    kubectl = [str(project.toolchain.kubectl), "rollout", "status", "deployment/backend", *where, "--context", PROFILE]
    begun = time.monotonic()
    for words in (helm, kubectl):
        subprocess.run(words, check=True, capture_output=True, timeout=300)
    return time.monotonic() - begun


def _times(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} ({', '.join(f'{one:.2f}' for one in sorted(times))})"


if __name__ == "__main__":
    sys.exit(main())
