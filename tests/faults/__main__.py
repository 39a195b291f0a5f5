"""`python -m tests.faults`: the table of faults and the ten healthy rollouts; exit code 1 when a check fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

from deployer import world
from deployer.spec import Cluster
from tests.cluster import PROFILE, ensure_test_cluster
from tests.e2e.project import make_project
from tests.faults.bench import Bench, Told
from tests.faults.healthy import Healthy, run_healthy
from tests.faults.judging import Row, names, row_of
from tests.faults.model import NAMESPACE, Fault
from tests.faults.printing import document, healthy_line, line_of
from tests.faults.recording import Recorder, secrets_of
from tests.faults.table import FAULTS, chosen
from tests.faults.watching import Watch


def main() -> int:
    """0 when every check held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", "faults", "healthy"), default="all")
    parser.add_argument("--only", metavar="PATTERN", help="only faults whose name or code the pattern matches")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write what was seen of each fault there as a case")
    parser.add_argument("--keep", action="store_true", help="leave the application on the cluster")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    asked = parser.parse_args()
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
    if asked.markdown:
        asked.markdown.write_text(text)
    return 1 if any(row.wrong for row in rows) or any(one.wrong for one in rollouts) else 0


def run_faults(bench: Bench, faults: tuple[Fault, ...], record: Path | None = None) -> list[Row]:
    """Each fault was put into the healthy application, judged, and taken out again."""
    first = bench.heal()
    print(f"the application runs after {first.ended - first.began:.1f} s", flush=True)
    bench.prepare()
    recorder = None
    if record is not None:
        kube = world.open_kube(world.this_world(), Cluster(name=PROFILE))
        recorder = Recorder(record, kube, secrets_of(bench.project.env_file.read_text().splitlines()))
    rows = []
    with Watch(bench.project.kubeconfig, PROFILE, NAMESPACE) as watch:
        time.sleep(1)
        for fault in faults:
            rows.append(measured(bench, fault, watch, recorder))
            print(line_of(rows[-1]), flush=True)
            healed = bench.heal()
            if healed.ended - healed.began > 20:
                print(f"  (put right only after {healed.ended - healed.began:.0f} s)", flush=True)
    return rows


def measured(bench: Bench, fault: Fault, watch: Watch, recorder: Recorder | None = None) -> Row:
    """The fault's row; the application is left broken."""
    threads: list[threading.Thread] = []

    def look(told: Told) -> None:
        if recorder is not None and not threads and names(fault, told.event):
            threads.append(threading.Thread(target=recorder.record, args=(fault,)))
            threads[0].start()

    with bench.broken(fault):
        watch.begin()
        if recorder is not None:
            recorder.since = time.time()
        words = ["--on-failure", "keep", "--hold", fault.hold, "--timeout", f"{fault.timeout}s"]
        run = bench.deploy(*words, overlay=fault.overlay(), on_event=look)
        for thread in threads:
            thread.join(30)
        return row_of(fault, run, watch)


if __name__ == "__main__":
    sys.exit(main())
