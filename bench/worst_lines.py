"""How long one text of 64 KiB keeps diagnosis busy: `python -m bench.worst_lines [--against FOLDER]`.

Each text is a program's log on one line, or on lines of 900 characters, and the messages of its pod and events: hex
digits, decimal digits, one letter, spaces, dots, the words that the patterns of causes begin with, and mixtures.
`--against` measures another checkout as well, such as that of an earlier commit, with 8 KiB: what takes quadratic time
would take minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from deployer.diagnosis import diagnose
from deployer.status import Snapshot, WorkloadRef
from tests.fakes.clock import START
from tests.fakes.kube import FakeKube
from tests.fakes.workloads import show

SIZE, SMALL = 65536, 8192
LIMIT_MS = 50.0
_KINDS = {"deployments": "Deployment", "replicasets": "ReplicaSet", "pods": "Pod", "events": "Event"}
_WORDS = (
    "exec ", "EROFS", "missing env", "A_", "A", "127.0.0.1:5432 ", "a.b-", "connection refused ", "EADDRINUSE",
    "address already in use ", "secret \"", "KeyError: '", "lookup ", "'", '"', "(", ")", ": ", "\\r", "0", "f", " ",
)  # fmt: skip


def worst_lines(size: int = SIZE) -> dict[str, str]:
    """Texts of that many characters, the same in every run."""
    rng = random.Random(1)
    repeated = {
        "hexadecimal": "0123456789abcdef", "digits": "7", "one letter": "a", "one capital": "A", "spaces": " ",
        "dots": ".", "A_A_": "A_", "host:5432": "db:5432 ", "refused": "connection refused ", "exec": "exec a: ",
        "bind": "('', 1", "backslashes": "\\", "escapes": "\x1b[31m", "percent": "%25",
    }  # fmt: skip
    texts = {name: (text * size)[:size] for name, text in repeated.items()}
    for number in range(1, 4):
        texts[f"mixture {number}"] = "".join(rng.choices(_WORDS, k=size))[:size]
    return texts


def shapes(size: int = SIZE) -> Iterator[tuple[str, str]]:
    """Each text on one line, and on many."""
    for name, text in worst_lines(size).items():
        yield name, text
        yield f"{name}, lines", "\n".join(text[at : at + 900] for at in range(0, len(text), 900))


def seconds(text: str, wrap: Callable[[FakeKube], FakeKube] = lambda kube: kube) -> tuple[float, float]:
    """CPU seconds of reading what the API server says, and of the diagnosis of it; the better of two."""
    took = []
    for _ in range(2):
        kube = FakeKube()
        show(kube, "web", ready=False, restarts=3, waiting=("CrashLoopBackOff", text), crashed=1)
        kube.put({
            "kind": "Event", "metadata": {"name": "e", "namespace": "default"}, "reason": "Unhealthy",
            "message": f"Readiness probe failed: {text}", "lastTimestamp": kube.clock.stamp(),
            "involvedObject": {"uid": "pod-web"},
        })  # fmt: skip
        kube.container_logs["default", "web-pod", "web", True] = text.splitlines()
        api = wrap(kube)
        begun = time.process_time()
        snapshot = Snapshot(**{field: tuple(api.list(kind)) for field, kind in _KINDS.items()})
        log = "\n".join(api.logs("default", "web-pod", "web", previous=True, tail=10**6))
        read = time.process_time()
        ref = WorkloadRef("default", "Deployment", "web")
        found = diagnose(snapshot, (ref,), {("web-pod", "web", True): log}, now=START + 5, since=START - 5)
        assert found
        took.append((read - begun, time.process_time() - read))
    return min(one for one, _ in took), min(one for _, one in took)


def measured(size: int) -> dict[str, tuple[float, float]]:
    """Milliseconds for each text, with thirty secret values known where this checkout masks what it reads."""
    wrap: Callable[[FakeKube], FakeKube] = lambda kube: kube  # noqa: E731
    try:
        from deployer.core.redact import KNOWN
        from deployer.kube.masking import masked

        KNOWN.learn(f"{random.Random(seed).getrandbits(160):040x}" for seed in range(30))
        wrap = masked  # type: ignore[assignment]
    except ImportError:
        pass
    return {name: tuple(1000 * one for one in seconds(text, wrap)) for name, text in shapes(size)}  # type: ignore[misc]


def main() -> None:
    """The figures are in bench/results/worst_lines.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--json", type=int, metavar="SIZE", help="print the figures for texts of that many characters")
    asked = parser.parse_args()
    if asked.json:
        print(json.dumps(measured(asked.json)))
        return
    figures = measured(SIZE)
    before: dict[str, tuple[float, float]] = {}
    if asked.against is not None:
        env = {**os.environ, "PYTHONPATH": str(asked.against)}
        code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
        argv = [sys.executable, "-c", code, "--json", str(SMALL)]
        done = subprocess.run(argv, cwd=asked.against, env=env, capture_output=True, check=True)
        before = json.loads(done.stdout)
    from bench.report import machine, write_result  # another checkout may have none

    lines = [
        "# One text of 64 KiB as log and messages of a pod that crashes",
        "",
        f"{machine()}.",
        "",
        "CPU milliseconds of `python -m bench.worst_lines`: of reading (cleaning and masking, 30 values known) and of",
        f"the diagnosis. Slowest diagnosis: {max(one for _, one in figures.values()):.1f} ms; goal: {LIMIT_MS:.0f} ms.",
        "",
        "| text | reading | diagnosis |" + (" diagnosis before, of 8 KiB |" if before else ""),
        "|---|---|---|" + ("---|" if before else ""),
    ]
    for name, (read, diagnosed) in figures.items():
        earlier = f" {before[name][1]:.1f} |" if name in before else ""
        lines.append(f"| {name} | {read:.1f} | {diagnosed:.1f} |{earlier}")
    text = "\n".join(lines) + "\n"
    write_result("worst_lines", text)
    print(text)


if __name__ == "__main__":
    main()
