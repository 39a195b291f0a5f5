"""The application as a clone with commits, deployed to the cluster of the tests, and what is asked of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.chaos.deployment import first_up
from deployer.core.values import overlaid
from tests.cluster import CompletedCli, ensure_test_cluster
from tests.e2e.browser import Browser
from tests.e2e.project import RELEASE, Object, Project, make_project

OVERLAY = "todo-deploy.local.yaml"
SOURCE = "app/backend/todo_backend/routes/health.py"
HOLD = "1s"
_GIT = ("git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false")
_AMOUNTS = {"requests": {"cpu": "50m", "memory": "64Mi"}}
# As documented a pod is asked for the first time after 5 to 15 seconds; how pods are drained stays as documented.
_SOON = {"probes": {"readiness": {"initialDelaySeconds": 0, "periodSeconds": 1}, "startup": None},
         "resources": _AMOUNTS}  # fmt: skip


@dataclass
class Scene:
    """A running application with a user and a task."""

    project: Project
    urls: Mapping[str, str]
    ann: Browser
    soon: bool = True
    """Whether pods are probed at once and every second, and not as documented."""

    def overlay(self, backend: Mapping[str, Any] | None = None, **more: Any) -> None:
        """The git-ignored overlay says so of the backend, and of the spec."""
        write_overlay(self.project, backend, soon=self.soon, **more)

    def edit(self, text: str) -> None:
        """The backend's source has one line more."""
        with (self.project.root / SOURCE).open("a") as file:
            file.write(f"\n# {text}\n")

    def commit(self, message: str) -> str:
        """All that git knows is committed; its name."""
        git(self.project.root, "add", "--all")
        git(self.project.root, "commit", "--quiet", "--message", message)
        return git(self.project.root, "rev-parse", "HEAD")

    def run(self, *words: str) -> tuple[CompletedCli, Object]:
        """The command ran to its end, whichever way; its one document."""
        done = self.project.run(*words, "-o", "json", "--progress", "plain")
        try:
            return done, json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"no document ({done.returncode}):\n{done.stderr[-3000:]}") from None

    def up(self, *words: str) -> Object:
        """The data of an `up` that ended well."""
        done, document = self.run("up", *(words or ("--hold", HOLD)))
        assert done.returncode == 0, done.stderr[-4000:]
        data: Object = document["data"]
        return data

    def helm_history(self) -> list[Object]:
        """What `helm history` shows of the release."""
        found: list[Object] = json.loads(self.project.helm("history", RELEASE, "--namespace", "default", "-o", "json"))
        return found

    def history(self) -> list[Object]:
        """What `todo-deploy history` shows."""
        revisions: list[Object] = self.project.json("history")["data"]["revisions"]
        return revisions

    def image(self) -> str:
        """What the backend's Deployment runs."""
        return str(self.project.object("deploy", "backend")["spec"]["template"]["spec"]["containers"][0]["image"])

    def in_pod(self, variable: str) -> str:
        """The variable's value in a backend pod."""
        words = ("exec", "--namespace", "default", "deploy/backend", "--", "printenv", variable)
        return self.project.kubectl(*words).strip()


def write_overlay(
    project: Project, backend: Mapping[str, Any] | None = None, *, soon: bool = True, **more: Any
) -> None:
    """The overlay asks for small requests, for probes that ask `soon` or else as documented, and for this of the
    backend.
    """
    every = _SOON if soon else {"resources": _AMOUNTS}
    values: dict[str, Any] = {name: dict(every) for name in ("frontend-web", "frontend-chatbot")}
    values["backend"] = overlaid(every, backend or {})
    if soon:
        values["database"] = {"probes": {"readiness": {"periodSeconds": 1}}}
    document = overlaid({"releases": {RELEASE: {"values": values}}}, more)
    (project.root / OVERLAY).write_text(json.dumps(document, indent=1) + "\n")


def git(root: Path, *words: str) -> str:
    """What git prints in the folder."""
    return subprocess.run([*_GIT, "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def scene(*, keep: bool = False, soon: bool = True) -> Iterator[Scene]:
    """The application runs from a fresh clone with one commit, with one user and a task; it is removed afterwards."""
    ensure_test_cluster(shown=True)
    folder = Path(tempfile.mkdtemp(prefix="todo-rollbacks-"))
    project = make_project(folder)
    try:
        git(folder, "init", "--quiet", str(project.root))
        write_overlay(project, soon=soon)
        git(project.root, "add", "--all")
        git(project.root, "commit", "--quiet", "--message", "as it is")
        urls, ann = first_up(project, HOLD)
        ann.add("water the plants")
        yield Scene(project, urls, ann, soon)
    finally:
        if not keep:
            project.run("down", "--volumes", "--yes")
            shutil.rmtree(folder, ignore_errors=True)
