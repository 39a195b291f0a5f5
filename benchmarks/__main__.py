"""Prints every benchmark as Markdown: `python -m benchmarks [race] [watching]`, both without words."""

from __future__ import annotations

import os
import sys

from benchmarks import race, watching

PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"


def main(words: list[str]) -> None:
    """Each benchmark's table is on standard output."""
    load = os.getloadavg()[0]
    print(f"Load of the machine at the beginning: {load:.1f}, processors: {os.cpu_count()}\n")
    if "race" in words or not words:
        print("## The same application by a shell script and by todo-deploy\n")
        print(f"Seconds, best of {race.ROUNDS} (worst in brackets).\n")
        with race.ground(PROFILE) as place:
            print(race.table(race.race(place)), flush=True)
        print()
    if "watching" in words or not words:
        print("## A large rollout watched\n")
        print(watching.table(watching.watch(watching.LARGE)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
