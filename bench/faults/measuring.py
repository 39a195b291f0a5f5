"""Faults put into the application one after the other, each watched from outside while the program runs."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

from bench.faults.bench import Bench, TimedEvent
from bench.faults.judging import Row, names, row_of
from bench.faults.model import NAMESPACE, Fault
from bench.faults.printing import line_of
from bench.faults.recording import Recorder, secrets_of
from bench.faults.watching import Watch
from deployer import composition
from deployer.config.spec import Cluster
from deployer.status import WorkloadRef
from tests.cluster import PROFILE


def run_faults(bench: Bench, faults: tuple[Fault, ...], record: Path | None = None) -> list[Row]:
    """Each fault was put into the healthy application, judged, and taken out again."""
    bench.empty()
    first = bench.heal()
    print(f"the application runs after {first.ended - first.began:.1f} s", flush=True)
    bench.prepare()
    recorder = None
    if record is not None:
        kube = composition.open_kube(composition.this_machine(), Cluster(name=PROFILE))
        recorder = Recorder(record, kube, secrets_of(bench.project.env_file.read_text().splitlines()))
    if recorder is not None:
        record_a_job(bench, recorder)
    rows = []
    with Watch(bench.project.kubeconfig, PROFILE, NAMESPACE) as watch:
        time.sleep(1)
        for fault in faults:
            row = measured(bench, fault, watch, recorder)
            try:
                bench.heal()
            except RuntimeError as error:  # the next fault is to meet a healthy application all the same
                row = replace(row, wrong=(*row.wrong, str(error)))
                bench.empty()
                bench.heal()
            rows.append(row)
            print(line_of(row), flush=True)
    return rows


def record_a_job(bench: Bench, recorder: Recorder) -> None:
    """A Job that did its work is among the cases: its pod is Succeeded."""
    recorder.since = time.time()
    where = ("-n", NAMESPACE)
    bench.project.kubectl("create", "job", "seed", f"--image={bench.images['backend']}", *where, "--", "echo", "done")
    bench.project.kubectl("wait", "--for=condition=Complete", "job/seed", "--timeout=60s", *where)
    recorder.write("a job that did its work", WorkloadRef(NAMESPACE, "Job", "seed"))
    bench.project.kubectl("delete", "job", "seed", "--wait=true", *where)


def measured(bench: Bench, fault: Fault, watch: Watch, recorder: Recorder | None = None) -> Row:
    """The fault's row; the application is left broken."""
    threads: list[threading.Thread] = []

    def look(timed: TimedEvent) -> None:
        if recorder is not None and not threads and names(fault, timed.event):
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
