"""What each command costs on an application that runs: time, processor time, memory, requests and processes.

`python -m bench.commands [FOLDER]`: a folder whose application is deployed; without one, a small service is deployed
for it. Only commands that change nothing are run.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from bench.report import recorded

ROUNDS = 7
PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"
COMMANDS = (
    ("--help",), ("status",), ("plan",), ("urls",), ("history",), ("logs",), ("validate",),
    ("up", "--progress", "plain", "--hold", "0s"),
)  # fmt: skip
# Counts what the process asks for and starts, and says so on the way out.
_COUNTING = """
import atexit, http.client, json, os, sys
counted = {"requests": 0, "processes": 0}
send = http.client.HTTPConnection.putrequest
def counting(self, *words, **more):
    counted["requests"] += 1
    return send(self, *words, **more)
http.client.HTTPConnection.putrequest = counting
def hear(event, words):
    if event in ("subprocess.Popen", "os.posix_spawn"):
        counted["processes"] += 1
sys.addaudithook(hear)
atexit.register(lambda: open(os.environ["COUNTED"], "w").write(json.dumps(counted)))
from deployer.cli import main
main()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """One run: seconds, processor seconds, MiB at most, and what it asked for and started."""

    seconds: float
    cpu: float
    memory: float
    requests: int
    processes: int


def run(words: tuple[str, ...], folder: Path) -> Cost:
    """The command was run in the folder. Raises RuntimeError where it failed."""
    with tempfile.TemporaryDirectory() as place:
        counted = Path(place) / "counted"
        env = {**os.environ, "COUNTED": str(counted), "NO_COLOR": "1"}
        argv = [sys.executable, "-c", _COUNTING, *words]
        begun = time.monotonic()
        with (
            (Path(place) / "said").open("w+") as said,
            subprocess.Popen(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process,
        ):
            _, status, used = os.wait4(process.pid, 0)
            took = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            text = (Path(place) / "said").read_text()
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{text[-2000:]}")
        return Cost(took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, **json.loads(counted.read_text()))


def row(words: tuple[str, ...], folder: Path, start: float) -> str:
    """A row of Markdown; `start` is what a bare interpreter takes."""
    found = [run(words, folder) for _ in range(ROUNDS)]
    middle = statistics.median(one.seconds for one in found)
    least, cpu = min(one.seconds for one in found), statistics.median(one.cpu for one in found)
    last = found[-1]
    cells = (
        f"`{' '.join(words[:1])}`", f"{least:.2f} / {middle:.2f}", f"{cpu:.2f}", f"{cpu / start:.0f}",
        f"{max(one.memory for one in found):.0f}", str(last.requests), str(last.processes),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def bare() -> float:
    """Processor seconds of an interpreter that does nothing: the median."""
    taken = []
    for _ in range(ROUNDS):
        with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        taken.append(used.ru_utime + used.ru_stime)
    return statistics.median(taken)


@contextmanager
def deployed() -> Iterator[Path]:
    """The folder of a small service that runs meanwhile."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "dev_app"
        shutil.copytree(Path(__file__).parent / "dev_app", folder)
        with (folder / "todo-deploy.yaml").open("a") as spec:
            spec.write(f"\ncluster: {{name: {PROFILE}}}\n")
        try:
            run(COMMANDS[-1], folder)
            yield folder
        finally:
            run(("down", "--volumes", "--yes"), folder)


def main() -> None:
    """The table is printed."""
    given = nullcontext(Path(sys.argv[1])) if len(sys.argv) > 1 else deployed()
    with recorded("commands", "What each command costs", "python -m bench.commands"), given as folder:
        print(
            f"Of {ROUNDS} runs each: seconds least / median, processor seconds (median), also as a multiple of a bare"
        )
        print("interpreter's, MiB at most; requests and processes of one run.\n")
        print("| command | seconds | processor seconds | times `python -c pass` | MiB | requests | processes |")
        print("|" + "---|" * 7)
        start = bare()
        for words in COMMANDS:
            print(row(words, folder, start), flush=True)


if __name__ == "__main__":
    main()
