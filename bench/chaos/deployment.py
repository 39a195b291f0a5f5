"""The deployment that kills and faults are tried on: a copy of this repository, its cluster, a user with tasks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.chaos import changes, checks
from bench.chaos.changes import Wanted
from bench.chaos.victim import Victim
from deployer.composition import this_machine
from tests.cluster import ensure_test_cluster
from tests.e2e.browser import Browser
from tests.e2e.project import Project, make_project

EMAIL, PASSWORD = "ann@example.com", "correct horse battery"
HOLD = "2s"
_KEPT_KEYS = ("POSTGRES_PASSWORD", "BETTER_AUTH_SECRET")


@dataclass
class Deployment:
    """A running application, what was written through its API, and what its files ask for."""

    project: Project
    cache: Path
    ann: Browser
    no_pods: frozenset[str] = frozenset()
    """Containers without a pod that were in the cluster's daemon before."""
    wanted: Wanted = field(default_factory=Wanted)
    written: list[str] = field(default_factory=list)

    def write_task(self, title: str) -> None:
        """A task of this title was answered with "created"."""
        self.ann.add(title)
        self.written.append(title)

    def start(self, mark: str, *words: str) -> Victim:
        """The command is at work."""
        return Victim(self.project, words, mark)

    def up(self, mark: str, *words: str, seconds: float = 420) -> Victim:
        """An `up` has ended, whichever way."""
        run = self.start(mark, "up", "--hold", HOLD, *words)
        run.wait(seconds)
        return run

    def kept_env(self) -> dict[str, str]:
        """The keys that data depends on."""
        return {key: self.project.env_value(key) for key in _KEPT_KEYS}

    def complaints(self, run: Victim, mark: str) -> list[str]:
        """Everything that is not as it must be after a run that is to have put all in order."""
        document = run.document
        if run.process.returncode != 0:
            codes = ", ".join(one["code"] for one in document.get("errors") or ()) or "".join(run.noise)[-400:]
            return [f"the next {document.get('command', 'run')} ended with {run.process.returncode}: {codes}"]
        data = document["data"]
        project = self.project
        found = checks.addresses(data["urls"])
        found += checks.data(self.ann, self.written)
        found += checks.cluster(project)
        found += checks.leaks(mark)
        found += checks.builds(project, self.no_pods)
        found += checks.files(project, self.kept_env())
        return found + checks.leftovers(project)

    def unfinished(self, images: Mapping[str, str]) -> list[str]:
        """What an `up` still finds to do, and what the files ask for and is not there."""
        found = changes.missing(self.project, self.wanted, images)
        again = self.project.json("up", "--progress", "plain", "--hold", HOLD)["data"]
        if again["changed"]:
            found.append("another `up` still changed something")
        return found


@contextmanager
def deployment(keep: bool) -> Iterator[Deployment]:
    """The application runs from a fresh copy on the cluster of the tests, with one user; it is removed afterwards."""
    ensure_test_cluster(shown=True)
    folder = Path(tempfile.mkdtemp(prefix="todo-chaos-"))
    project = replace(make_project(folder), more_environment={"XDG_CACHE_HOME": str(folder / "cache")})
    cache = folder / "cache" / "todo-deploy"
    share_cache(this_machine().cache_dir, cache)
    changes.prepare(project)
    no_pods = frozenset(checks.no_pods(project))
    _, ann = first_up(project, HOLD)
    made = Deployment(project, cache, ann, no_pods)
    try:
        yield made
    finally:
        if not keep:
            project.run("down", "--volumes", "--yes")
            shutil.rmtree(folder, ignore_errors=True)


def first_up(project: Project, hold: str) -> tuple[dict[str, str], Browser]:
    """The application was deployed from nothing and has a user; its URLs by name, and that user's browser."""
    done = project.run("down", "--volumes", "--yes")
    assert done.returncode == 0, done.stderr[-2000:]
    first = project.json("up", "--progress", "plain", "--hold", hold)["data"]
    urls = {one["name"]: one["url"].rstrip("/") for one in first["urls"]}
    ann = Browser(urls["web"])
    ann.register(EMAIL, PASSWORD)
    return urls, ann


def share_cache(source: Path, target: Path) -> None:
    """What was built for the toolchain is there too, as links; what a run writes into the cache stays its own."""
    for name in ("toolchain/built", "toolchain/bin"):
        shutil.copytree(source / name, target / name, symlinks=True, copy_function=_link)
    for stamp in (source / "toolchain").glob("toolchain-*.json"):
        shutil.copy2(stamp, target / "toolchain" / stamp.name)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
