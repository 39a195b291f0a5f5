"""`python -m bench.faults`: the table of faults and the ten healthy rollouts; exit code 1 when a check fails."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.faults.bench import Bench
from bench.faults.healthy import Healthy, run_healthy
from bench.faults.judging import Row
from bench.faults.measuring import run_faults
from bench.faults.printing import document, healthy_line
from bench.faults.table import FAULTS, chosen
from bench.report import write_result
from tests.cluster import ensure_test_cluster
from tests.e2e.project import make_project


def main() -> int:
    """0 when every check held."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "faults", "healthy"), default="all")
    parser.add_argument("--only", metavar="PATTERN", help="only faults whose name or code the pattern matches")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write what was seen of each fault there as a case")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this finds the cluster as it was
    ensure_test_cluster(shown=True)
    rows: list[Row] = []
    rollouts: list[Healthy] = []
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="todo-faults-") as folder:
        bench = Bench(make_project(Path(folder)))
        try:
            if asked.part != "healthy":
                begun = time.monotonic()
                rows = run_faults(bench, chosen(asked.only) if asked.only else FAULTS, asked.record)
                took["faults"] = time.monotonic() - begun
            if asked.part != "faults":
                begun = time.monotonic()
                for one in run_healthy(bench):
                    rollouts.append(one)
                    print(healthy_line(one), flush=True)
                took["healthy"] = time.monotonic() - begun
        finally:
            if not asked.keep:
                bench.leave()
    text = document(rows, rollouts, took)
    print(text)
    if asked.part == "all" and not asked.only:
        write_result("faults", text)
    return 1 if any(row.wrong for row in rows) or any(one.wrong for one in rollouts) else 0


if __name__ == "__main__":
    sys.exit(main())
