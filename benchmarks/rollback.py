"""`python -m benchmarks.rollback`: `rollback` beside what one does by hand, on the same change, in one run.

By hand is `helm rollback` and then `kubectl rollout status` of the one workload that the change rolls; nobody waits for
the others, asks the URLs or brings Secrets back. The stability hold is not counted (`--hold 0s`).
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from secrets import token_urlsafe

from tests.cluster import PROFILE
from tests.e2e.project import RELEASE
from tests.rollbacks.scene import Scene, scene

GOAL = 1.2


def main(words: Sequence[str] | None = None) -> int:
    """The table is printed; 0 when the ratio of the medians of each change is within the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollback", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of each change (default: %(default)s)")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was deployed is removed
    worst = 0.0
    with scene() as made:
        print(f"cluster {PROFILE}, {asked.rounds} pairs of each change, seconds\n")
        print("| change | todo-deploy rollback | helm rollback + kubectl rollout status | ratio of medians |")
        print("|---|--:|--:|--:|", flush=True)
        for name, change in (("one config value", _value), ("one line of the backend", _line)):
            ours, by_hand = _pairs(made, change, asked.rounds)
            ratio = statistics.median(ours) / statistics.median(by_hand)
            worst = max(worst, ratio)
            print(f"| {name} | {_told(ours)} | {_told(by_hand)} | {ratio:.2f} |", flush=True)
    print(f"\ngoal: at most {GOAL}; {'held' if worst <= GOAL else 'MISSED'}")
    return 0 if worst <= GOAL else 1


def _pairs(made: Scene, change: Callable[[Scene], None], rounds: int) -> tuple[list[float], list[float]]:
    """The times of going back from a change, each way, taking turns in going first."""
    times: dict[str, list[float]] = {"ours": [], "by hand": []}
    for number in range(rounds):
        for way in ("ours", "by hand") if number % 2 == 0 else ("by hand", "ours"):
            good, before = made.project.revision(), made.project.pods()
            change(made)
            made.up("--hold", "0s")
            assert made.project.rolled(before) == {"backend"}
            took = _ours(made) if way == "ours" else _by_hand(made, good)
            print(f"  {way}: {took:.2f} s", file=sys.stderr, flush=True)
            times[way].append(took)
    return times["ours"], times["by hand"]


def _value(made: Scene) -> None:
    made.overlay({"config": {"data": {"BENCH_NOTE": token_urlsafe(6)}}})


def _line(made: Scene) -> None:
    made.edit(token_urlsafe(6))


def _ours(made: Scene) -> float:
    done = made.project.run("rollback", "--hold", "0s", "--progress", "plain")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.seconds


def _by_hand(made: Scene, revision: int) -> float:
    project = made.project
    where = ["--namespace", "default", "--kubeconfig", str(project.kubeconfig)]
    helm = [str(project.toolchain.helm), "rollback", RELEASE, str(revision), *where, "--kube-context", PROFILE]
    kubectl = [str(project.toolchain.kubectl), "rollout", "status", "deployment/backend", *where, "--context", PROFILE]
    begun = time.monotonic()
    for words in (helm, kubectl):
        subprocess.run(words, check=True, capture_output=True, timeout=300)
    return time.monotonic() - begun


def _told(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} ({', '.join(f'{one:.2f}' for one in sorted(times))})"


if __name__ == "__main__":
    sys.exit(main())
