"""What it costs to watch rollouts of 10 to 2,000 pods: the real client and rollout stage, a synthetic API server.

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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from bench.crowd import Crowd
from bench.report import recorded
from deployer.config.spec import FailFast
from deployer.core.steps import SystemClock, drive, stage
from deployer.kube.client import KubeApi
from deployer.rollout.observe import lookup_of
from deployer.rollout.stage import Limits, Rollout, await_rollout
from deployer.ui.sinks import PlainSink

CROWDS = tuple(Crowd(*size, seconds=40.0) for size in ((5, 10), (20, 100), (50, 500), (200, 2000)))


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


def table(found: Sequence[Watched]) -> str:
    """The measurements of all crowds beside what those of up to 500 pods may be, as Markdown."""
    rows = [
        ("watched for", "", [f"{one.seconds:.0f} s" for one in found]),
        ("API requests a second", "5 for 500 pods", [f"{one.per_second:.2f}" for one in found]),
        ("share of one core", "25 %", [f"{100 * one.cpu / one.seconds:.0f} %" for one in found]),
        ("memory, at most", "120 MiB", [f"{one.memory:.0f} MiB" for one in found]),
        ("received a second", "", [f"{one.received / 2**20 / one.seconds:.1f} MiB" for one in found]),
    ]
    heads = [f"{one.crowd.workloads} workloads, {one.crowd.pods} pods" for one in found]
    lines = [f"| {' | '.join(['', 'may be', *heads])} |", "|" + "---|" * (len(heads) + 2)]
    return "\n".join([*lines, *(f"| {' | '.join([name, most, *cells])} |" for name, most, cells in rows)])


def main() -> None:
    """Each crowd is watched by a process of its own, whose memory is its own."""
    with recorded("watching", "Rollouts watched", "python -m bench.watching"):
        found = []
        for crowd in CROWDS:
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                found.append(process.submit(watch, crowd).result())
        print("A synthetic API server; nothing runs.\n\n" + table(found))


if __name__ == "__main__":
    main()
