"""What it costs to watch a large rollout: the real adapter and rollout stage against a synthetic API server.

The server is a process of its own, so that what is measured here is the tool alone.
"""

from __future__ import annotations

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import Crowd
from bench.report import recorded
from deployer.config.spec import FailFast
from deployer.core.steps import SystemClock, drive, stage
from deployer.kube.client import KubeApi
from deployer.rollout.observe import lookup_of
from deployer.rollout.stage import Limits, Rollout, await_rollout
from deployer.ui.sinks import PlainSink

LARGE = Crowd(workloads=50, pods=500, seconds=40.0)


@dataclass(frozen=True, slots=True)
class Watched:
    """One rollout watched to its end: seconds, requests by kind, bytes received, processor seconds, MiB at most."""

    crowd: Crowd
    seconds: float
    asked: dict[str, int]
    received: int
    cpu: float
    memory: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return sum(self.asked.values()) / self.seconds


@contextmanager
def serving(crowd: Crowd) -> Iterator[int]:
    """The port of a server of the crowd."""
    words = [sys.executable, "-m", "bench.apiserver", str(crowd.workloads), str(crowd.pods), str(crowd.seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def kubeconfig(folder: Path, port: int) -> Path:
    """A kubeconfig whose context `crowd` is that server."""
    path = folder / "kubeconfig"
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "crowd",
        "contexts": [{"name": "crowd", "context": {"cluster": "crowd", "user": "crowd"}}],
        "clusters": [{"name": "crowd", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "crowd", "user": {}}],
    }))  # fmt: skip
    return path


def watch(crowd: Crowd, hold: float = 5.0) -> Watched:
    """The crowd's rollout was watched to its end, as `up` watches it."""
    with tempfile.TemporaryDirectory() as folder, serving(crowd) as port:
        kube, clock = KubeApi(kubeconfig(Path(folder), port), "crowd"), SystemClock()
        limits = Limits(crowd.seconds + 60, hold, FailFast.BALANCED)
        begun, cpu = time.monotonic(), time.process_time()
        look = lookup_of(kube, lambda: (), lambda: ())
        rollout = Rollout(tuple(crowd.refs), kube, clock, limits, clock.now(), look=look, kinds=("Node", "Service"))
        body = await_rollout(rollout)
        with PlainSink(io.StringIO(), clock) as sink:
            drive(stage("rollout", body, clock), sink)
        took, used = time.monotonic() - begun, time.process_time() - cpu
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/counted") as answer:
            counted = json.load(answer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Watched(crowd, took, counted["asked"], counted["bytes"], used, peak)


def table(found: Watched) -> str:
    """The measurement beside what it may be, as Markdown."""
    kinds = ", ".join(f"{name} {number / found.seconds:.2f}" for name, number in sorted(found.asked.items()))
    rows = [
        ("API requests a second", f"{found.per_second:.2f}", "≤ 5", kinds),
        ("share of one core", f"{100 * found.cpu / found.seconds:.0f} %", "≤ 25 %", f"{found.cpu:.1f} s in all"),
        ("memory, at most", f"{found.memory:.0f} MiB", "≤ 120 MiB", "of the process, its imports included"),
        ("received", f"{found.received / 2**20 / found.seconds:.1f} MiB/s", "", f"{found.received / 2**20:.0f} MiB"),
    ]
    head = (f"{found.crowd.workloads} workloads, {found.crowd.pods} pods, watched for {found.seconds:.0f} s "
            "(a synthetic API server; nothing runs)")  # fmt: skip
    lines = [head, "", "| | measured | may be | |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


if __name__ == "__main__":
    with recorded("watching", "A large rollout watched", "python -m bench.watching"):
        print(table(watch(LARGE)))
