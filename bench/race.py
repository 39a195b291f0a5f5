"""The same two-image application, deployed by a shell script, by todo-deploy, and by skaffold and tilt where they are
on PATH, side by side on one cluster.

Each lap begins at a moment by chance: whether a pod is ready a second sooner or later is decided by where in the second
the kubelet looks at its containers, and contenders that took turns without a pause would hand that on to each other.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import statistics
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
ROUNDS = 5
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
        """The script's environment: the tool's own programs on PATH, and the replacement of the base image, if any.

        The other tools report nothing to their makers, and look for no version of theirs or page for a browser.
        """
        base = replacements_for(self.tools, (BASE,)).get(BASE, "")
        path = f"{self.tools.bin}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PROFILE": self.profile, "PYTHON_IMAGE": base,
                "XDG_STATE_HOME": str(self.root / "state"), "NO_COLOR": "1", "DO_NOT_TRACK": "1",
                "SKAFFOLD_UPDATE_CHECK": "false", "TILT_WEB_MODE": "prod"}  # fmt: skip

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
        self.ground, self.root = ground, ground.root / self.namespace
        self.settings: list[str] = []

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


class Tool(Script):
    """todo-deploy."""

    name, namespace = "todo-deploy", "bench-tool"
    own: tuple[str, ...] = ()

    def deploy(self) -> None:
        """As the script, and the URL was proven."""
        self._run("up", "--progress", "plain", "--hold", "0s", *self.settings)

    def greet(self, word: str) -> None:
        """As the script."""
        self.settings = ["--set", f"releases.bench.values.greeting={word}"]

    def remove(self) -> None:
        """As the script."""
        self._run("down", "--volumes", "--yes")
        super().remove()

    def _run(self, *words: str) -> None:
        self.ground.run([PROGRAM, *words, "--set", f"cluster.name={self.ground.profile}", *self.own], self.root)


class Unhurried(Tool):
    """todo-deploy that leaves readiness to the period of the probe: what is left is the tool's own time."""

    name, namespace = "todo-deploy, earlyProbes: false", "bench-period"
    own = (
        "--set", "application=bench-period", "--set", "namespace=bench-period", "--set", "urls.web.nodePort=30992",
        "--set", "releases.bench.values.nodePort=30992", "--set", "rollout.earlyProbes=false",
    )  # fmt: skip


class Other(Script):
    """A tool that is configured by a file; the value is changed in the chart's values."""

    port = 0

    def greet(self, word: str) -> None:
        """As the script."""
        self._values(word)

    def remove(self) -> None:
        """As the script; the namespace and the Secret, which these tools do not make, are there."""
        super().remove()
        self._values("hello")
        self.ground.kubectl("create", "namespace", self.namespace)
        secret = ("secret", "generic", "bench-secrets", "--from-env-file", str(self.root / ".env"))
        self.ground.kubectl("--namespace", self.namespace, "create", *secret)

    def _values(self, greeting: str) -> None:
        text = (APP / "chart" / "values.yaml").read_text()
        text = text.replace("greeting: hello", f"greeting: {greeting}").replace("30990", str(self.port))
        (self.root / "chart" / "values.yaml").write_text(text)


class Skaffold(Other):
    """`skaffold run`."""

    name, namespace, port = "skaffold", "bench-skaffold", 30993

    def deploy(self) -> None:
        """As the script."""
        words = ["skaffold", "run", "--kube-context", self.ground.profile, "--default-repo=", "--status-check=true"]
        self.ground.run([*words], self.root)


class Tilt(Other):
    """`tilt ci`, which makes no Helm release."""

    name, namespace, port = "tilt", "bench-tilt", 30994

    def deploy(self) -> None:
        """As the script."""
        self.ground.run(["tilt", "ci", "--port=0", "--context", self.ground.profile], self.root)


def contenders(place: Ground) -> list[Script]:
    """The script, todo-deploy twice, and those of the others that are on PATH."""
    others = [one(place) for one in (Skaffold, Tilt) if shutil.which(one.name)]
    return [Script(place), Tool(place), Unhurried(place), *others]


@contextmanager
def ground(profile: str) -> Iterator[Ground]:
    """A copy of the application for each contender, beside a cluster that runs."""
    tools = locate_toolchain("auto", this_machine().cache_dir)
    assert tools is not None, "there is no toolchain yet: make up"
    with tempfile.TemporaryDirectory() as folder:
        for one in (Script, Tool, Unhurried, Skaffold, Tilt):
            copy = Path(folder) / one.namespace
            shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("server"))
            for image in IMAGES:
                shutil.copytree(APP / "server", copy / image)
            env = copy / ".env"
            env.write_text((APP / ".env.example").read_text().rstrip("\n") + secrets.token_hex(16) + "\n")
            env.chmod(0o600)
        yield Ground(profile, tools, Path(folder))


def race(place: Ground, rounds: int = ROUNDS) -> dict[str, dict[str, list[Lap]]]:
    """The laps of all contenders, by step and name; they take turns within each step."""
    laps: dict[str, dict[str, list[Lap]]] = {step: {} for step in STEPS}
    runners = contenders(place)
    # Warm: base layers, of which todo-deploy makes what no registry gives, and the programs in the page cache.
    for one in (*runners[1:], runners[0]):
        one.remove()
        one.deploy()
    for number in range(rounds):
        for step in STEPS:
            for one in runners:
                _prepare(one, step, number)
                before = place.pods(one.namespace)
                time.sleep(random.random())
                begun = time.monotonic()
                one.deploy()
                took = time.monotonic() - begun
                after = place.pods(one.namespace)
                rolled = tuple(sorted(name for name in after if after[name] != before.get(name)))
                laps[step].setdefault(one.name, []).append(Lap(took, rolled))
    for one in runners:
        one.remove()
        place.kubectl("delete", "namespace", one.namespace, "--ignore-not-found", "--wait=false")
    return laps


def _prepare(one: Script, step: str, number: int) -> None:
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
    """Seconds of all rounds, as Markdown: least / median, and the median beside that of the script."""
    names = list(next(iter(laps.values())))
    lines = [f"| {' | '.join(['step', *names])} |", "|" + "---|" * (len(names) + 1)]
    for step, found in laps.items():
        middle = {name: statistics.median(lap.seconds for lap in found[name]) for name in names}
        cells = []
        for name in names:
            least = min(lap.seconds for lap in found[name])
            ratio = f" ({middle[name] / middle[Script.name]:.2f})" if name != Script.name else ""
            cells.append(f"{least:.2f} / {middle[name]:.2f}{ratio}")
        lines.append(f"| {' | '.join([step, *cells])} |")
        rolled = [", ".join(sorted({one for lap in found[name] for one in lap.rolled})) or "none" for name in names]
        lines.append(f"| {' | '.join(['pods replaced', *rolled])} |")
    return "\n".join(lines)


def main() -> None:
    """The table is printed."""
    with recorded("race", "The same application by a shell script and by tools", "python -m bench.race"):
        print(f"Seconds of {ROUNDS} rounds: least / median (the median as a share of the script's).\n")
        with ground(PROFILE) as place:
            print(table(race(place)), flush=True)


if __name__ == "__main__":
    main()
