"""The same two-image application, deployed by a shell script and by todo-deploy, side by side on one cluster."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.report import recorded
from deployer.commands.toolchain import replacements_for
from deployer.composition import this_machine
from deployer.toolchain import Toolchain, locate_toolchain

APP = Path(__file__).parent / "app"
IMAGES = ("backend", "frontend")
"""Of one source, of which each has a copy that changes by itself."""
PROGRAM = Path(sys.executable).parent / "todo-deploy"
BASE = "python:3.11-slim"
ROUNDS = 3
PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"
STEPS = {
    "first deploy, warm base layers": "both images and everything else are new",
    "nothing changed": "run again at once",
    "one line of the backend": "the backend's source changed",
    "one config value": "a value of the ConfigMap changed",
}


@dataclass(frozen=True, slots=True)
class Lap:
    """One step of one contender: seconds, and the workloads of which a pod is another than before."""

    seconds: float
    rolled: tuple[str, ...]


@dataclass(frozen=True)
class Ground:
    """Where the race is run: a Minikube profile, the programs, and a copy of the application for each contender."""

    profile: str
    tools: Toolchain
    root: Path

    @property
    def env(self) -> dict[str, str]:
        """The script's environment: the tool's own programs on PATH, and the replacement of the base image, if any."""
        base = replacements_for(self.tools, (BASE,)).get(BASE, "")
        path = f"{self.tools.bin}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PROFILE": self.profile, "PYTHON_IMAGE": base,
                "XDG_STATE_HOME": str(self.root / "state"), "NO_COLOR": "1"}  # fmt: skip

    def run(self, words: list[str | Path], where: Path) -> None:
        """The command has ended well."""
        done = subprocess.run(words, cwd=where, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")

    def kubectl(self, *words: str) -> str:
        """What kubectl prints."""
        argv = [str(self.tools.kubectl), "--context", self.profile, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=True, env=self.env).stdout

    def pods(self, namespace: str) -> dict[str, set[str]]:
        """The uids of each workload's pods that are not on their way out."""
        found: dict[str, set[str]] = {}
        for pod in json.loads(self.kubectl("get", "pods", "--namespace", namespace, "-o", "json"))["items"]:
            if not pod["metadata"].get("deletionTimestamp"):
                found.setdefault(pod["metadata"]["labels"]["app"], set()).add(pod["metadata"]["uid"])
        return found


class Script:
    """The shell script."""

    name, namespace = "bash script", "bench-script"

    def __init__(self, ground: Ground) -> None:
        self.ground, self.root, self.settings = ground, ground.root / "script", list[str]()

    def deploy(self) -> None:
        """The application runs as it is now."""
        self.ground.run([self.root / "deploy.sh", *self.settings], self.root)

    def greet(self, word: str) -> None:
        """The config value is another."""
        self.settings = ["--set", f"greeting={word}"]

    def remove(self) -> None:
        """Nothing of the application is left."""
        self.settings = []
        self.ground.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=true")


class Tool:
    """todo-deploy."""

    name, namespace = "todo-deploy", "bench-tool"

    def __init__(self, ground: Ground) -> None:
        self.ground, self.root, self.settings = ground, ground.root / "tool", list[str]()

    def deploy(self) -> None:
        """As the script, and the URL was proven."""
        self._run("up", "--progress", "plain", "--hold", "0s", *self.settings)

    def greet(self, word: str) -> None:
        """As the script."""
        self.settings = ["--set", f"releases.bench.values.greeting={word}"]

    def remove(self) -> None:
        """As the script."""
        self.settings = []
        self._run("down", "--volumes", "--yes")
        self.ground.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=true")

    def _run(self, *words: str) -> None:
        self.ground.run([PROGRAM, *words, "--set", f"cluster.name={self.ground.profile}"], self.root)


@contextmanager
def ground(profile: str) -> Iterator[Ground]:
    """Two copies of the application beside a cluster that runs."""
    tools = locate_toolchain("auto", this_machine().cache_dir)
    assert tools is not None, "there is no toolchain yet: make up"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("script", "tool"):
            copy = Path(folder) / name
            shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("server"))
            for image in IMAGES:
                shutil.copytree(APP / "server", copy / image)
            env = copy / ".env"
            env.write_text((APP / ".env.example").read_text().rstrip("\n") + secrets.token_hex(16) + "\n")
            env.chmod(0o600)
        yield Ground(profile, tools, Path(folder))


def race(place: Ground, rounds: int = ROUNDS) -> dict[str, dict[str, list[Lap]]]:
    """The laps of both contenders, by step and name; both take turns within each step."""
    laps: dict[str, dict[str, list[Lap]]] = {step: {} for step in STEPS}
    contenders = (Script(place), Tool(place))
    for one in contenders:  # warm: base layers, and the programs in the page cache
        one.remove()
        one.deploy()
    for number in range(rounds):
        for step in STEPS:
            for one in contenders:
                _prepare(one, step, number)
                before = place.pods(one.namespace)
                begun = time.monotonic()
                one.deploy()
                took = time.monotonic() - begun
                after = place.pods(one.namespace)
                rolled = tuple(sorted(name for name in after if after[name] != before.get(name)))
                laps[step].setdefault(one.name, []).append(Lap(took, rolled))
    for one in contenders:
        one.remove()
    return laps


def _prepare(one: Script | Tool, step: str, number: int) -> None:
    """What the step is about has changed."""
    if step.startswith("first"):
        one.remove()
    changed = {"first deploy, warm base layers": IMAGES, "one line of the backend": ("backend",)}
    for image in changed.get(step, ()):
        with (one.root / image / "server.py").open("a") as file:
            file.write(f"# {one.name} {step} {number} {time.time_ns()}\n")
    if step == "one config value":
        one.greet(f"hello-{number}")


def table(laps: dict[str, dict[str, list[Lap]]]) -> str:
    """Seconds, best of all rounds, as Markdown."""
    names = [Script.name, Tool.name]
    head = ["step", *names, "ratio", f"pods replaced by {names[0]}", f"by {names[1]}"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for step, found in laps.items():
        best = [min(lap.seconds for lap in found[name]) for name in names]
        spread = [f"{min(lap.seconds for lap in found[name]):.2f} ({max(lap.seconds for lap in found[name]):.2f})"
                  for name in names]  # fmt: skip
        rolled = [", ".join(sorted({one for lap in found[name] for one in lap.rolled})) or "none" for name in names]
        lines.append(f"| {step} | {spread[0]} | {spread[1]} | {best[1] / best[0]:.2f} | {rolled[0]} | {rolled[1]} |")
    return "\n".join(lines)


def main() -> None:
    """The table is printed."""
    with recorded("race", "The same application by a shell script and by todo-deploy", "python -m bench.race"):
        print(f"Seconds, best of {ROUNDS} (worst in brackets).\n")
        with ground(PROFILE) as place:
            print(table(race(place)), flush=True)


if __name__ == "__main__":
    main()
