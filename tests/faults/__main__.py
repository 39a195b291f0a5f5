"""`python -m tests.faults`: the table of faults, the ten healthy rollouts; exit code 1 when a check fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.cluster import PROFILE, ensure_test_cluster
from tests.e2e.project import make_project
from tests.faults.bench import Bench
from tests.faults.judging import Row, row_of
from tests.faults.model import NAMESPACE, Fault
from tests.faults.printing import as_markdown, line_of
from tests.faults.table import FAULTS, chosen
from tests.faults.watching import Watch


def main() -> int:
    """0 when every check held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", metavar="PATTERN", help="only faults whose name or code the pattern matches")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    asked = parser.parse_args()
    ensure_test_cluster(shown=True)
    with tempfile.TemporaryDirectory(prefix="todo-faults-") as folder:
        bench = Bench(make_project(Path(folder)))
        begun = time.monotonic()
        try:
            rows = run_faults(bench, chosen(asked.only) if asked.only else FAULTS)
        finally:
            if not asked.keep:
                bench.leave()
    text = as_markdown(rows, time.monotonic() - begun)
    print(text)
    if asked.markdown:
        asked.markdown.write_text(text)
    return 1 if any(row.wrong for row in rows) else 0


def run_faults(bench: Bench, faults: tuple[Fault, ...]) -> list[Row]:
    """Each fault was put into the healthy application, judged, and taken out again."""
    first = bench.heal()
    print(f"the application runs after {first.ended - first.began:.1f} s", flush=True)
    bench.prepare()
    rows = []
    with Watch(bench.project.kubeconfig, PROFILE, NAMESPACE) as watch:
        time.sleep(1)
        for fault in faults:
            rows.append(measured(bench, fault, watch))
            print(line_of(rows[-1]), flush=True)
            healed = bench.heal()
            if healed.ended - healed.began > 20:
                print(f"  (put right only after {healed.ended - healed.began:.0f} s)", flush=True)
    return rows


def measured(bench: Bench, fault: Fault, watch: Watch) -> Row:
    """The fault's row; the application is left broken."""
    with bench.broken(fault):
        watch.begin()
        words = ["--on-failure", "keep", "--hold", fault.hold, "--timeout", f"{fault.timeout}s"]
        run = bench.deploy(*words, overlay=fault.overlay())
        return row_of(fault, run, watch)


if __name__ == "__main__":
    sys.exit(main())
