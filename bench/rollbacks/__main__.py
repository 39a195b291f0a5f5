"""`python -m bench.rollbacks`: going back after every kind of broken version, as tables; exit code 1 when one fails."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import time
from collections.abc import Iterable, Sequence

from bench.report import recorded
from bench.rollbacks.broken import VERSIONS, Row, go_wrong
from bench.rollbacks.mending import CASES, shown, small
from bench.rollbacks.restored import SHOWS, Shown
from bench.rollbacks.scene import Scene, scene
from bench.rollbacks.together import other_machine, same_user
from tests.cluster import PROFILE


def main(words: Sequence[str] | None = None) -> int:
    """The tables are printed; 0 when every row of them is good."""
    parser = argparse.ArgumentParser(prog="python -m bench.rollbacks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="broken|restored|together|mending", help="default: all")
    parser.add_argument("--only", default="", metavar="PATTERN", help="only versions and cases whose names match it")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was deployed is removed
    whole = not asked.parts and not asked.only
    with recorded("rollbacks", "Rollback after every kind of broken version", "make rollbacks", whole=whole):
        return _run(set(asked.parts or ["broken", "restored", "together", "mending"]), asked.only, keep=asked.keep)


def _run(parts: set[str], only: str, *, keep: bool) -> int:
    begun = time.monotonic()
    print(f"cluster {PROFILE}")
    complaints = 0
    if "mending" in parts:
        with small() as app:
            complaints += _shows(shown(*one, app) for one in CASES if re.search(only, one[0]))
    if parts - {"mending"}:
        with scene(keep=keep) as made:
            print(f"\ndeployed after {time.monotonic() - begun:.0f} s", flush=True)
            complaints += _versions(made, only) if "broken" in parts else 0
            every = (*(SHOWS if "restored" in parts else ()),
                     *((same_user, other_machine) if "together" in parts else ()))  # fmt: skip
            shows = [one for one in every if re.search(only, one.__name__.replace("_", " "))]
            complaints += _shows(show(made) for show in shows) if shows else 0
    print(
        f"\n{'all as it must be' if not complaints else f'{complaints} COMPLAINTS'}; {time.monotonic() - begun:.0f} s"
    )
    return 1 if complaints else 0


def _versions(made: Scene, only: str) -> int:
    print(
        "\n| broken version | exit | shown | until the old one is verified again | requests | failed | `helm history` |"
    )
    print("|---|--:|---|--:|--:|--:|---|", flush=True)
    rows = (go_wrong(one, made) for one in VERSIONS if re.search(only, one.name))
    return sum(_printed(_row(row), row.complaints) for row in rows)


def _row(row: Row) -> str:
    cells = (row.version.name, row.exit_code, row.codes, f"{row.seconds:.1f} s", row.asked, row.failed, row.helm)
    return f"| {' | '.join(map(str, cells))} |"


def _shows(done: Iterable[Shown]) -> int:
    print("\n| tried | outcome | seconds |")
    print("|---|---|--:|", flush=True)
    return sum(_printed(f"| {one.name} | {one.outcome} | {one.seconds:.1f} |", one.complaints) for one in done)


def _printed(line: str, complaints: Sequence[str]) -> int:
    print(line, flush=True)
    for complaint in complaints:
        print(f"  BAD: {complaint}", flush=True)
    return len(complaints)


if __name__ == "__main__":
    sys.exit(main())
