"""What must hold after a kill, and again after the run that follows it."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.chaos.victim import marked, program_of
from tests.cluster import PROFILE
from tests.e2e.browser import Browser, request
from tests.e2e.project import APPLICATION, CURRENT_CONTEXT, RELEASE, Project, command_lines, read_yaml

_LEASE = f"todo-deploy.{APPLICATION}"
# A program that lost its parent ends by itself: helm after its last request, Minikube at its next line of output.
_LEAK_SECONDS = 20.0
# Docker's daemon is meant to stay when a run had to start it.
_DAEMONS = {"dockerd", "containerd", "docker-proxy", "containerd-shim"}


def files(project: Project, env: Mapping[str, str]) -> list[str]:
    """What is half-written: a state file, the kubeconfig, the env file, Minikube's own profile."""
    found = []
    for path in (project.state / "todo-deploy").rglob("*.json"):
        found += [] if _is_json(path) else [f"{path} is no whole JSON document"]
    with suppress_to(found, "the kubeconfig cannot be read"):
        if read_yaml(project.kubeconfig).get("current-context") not in (CURRENT_CONTEXT, PROFILE):
            found.append("the kubeconfig's current context is neither the user's nor the cluster's")
    for key, value in env.items():
        with suppress_to(found, f"the env file lost {key}"):
            if project.env_value(key) != value:
                found.append(f"the env file has another {key}")
    return found


def leftovers(project: Project) -> list[str]:
    """Drafts and locks that nobody will take away."""
    found = [str(path) for path in (project.state / "todo-deploy").rglob("*") if path.name.endswith((".part", ".tmp"))]
    found += [str(path) for path in project.home.glob("*kubeconfig*") if path != project.kubeconfig]
    found += [str(path) for path in project.root.glob(".env.*") if path.name != ".env.example"]
    for lock in (project.state / "todo-deploy" / "deployments").glob("*/lock"):
        with lock.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(f"{lock} is still held")
    if read_yaml(project.kubeconfig).get("current-context") != CURRENT_CONTEXT:
        found.append("the kubeconfig's current context is not the user's any more")
    return found


def leaks(mark: str, seconds: float = _LEAK_SECONDS) -> list[str]:
    """Processes of the killed run that are still there after a while."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in marked(mark) if program_of(pid) not in _DAEMONS]:
        if time.monotonic() > deadline:
            return [f"process {pid} is still there: {' '.join(command_lines([pid]))[:160]}" for pid in left]
        time.sleep(0.1)
    return []


def no_pods(project: Project) -> dict[str, str]:
    """Containers in the cluster's daemon that belong to no pod, such as those of builds: how each one is, by name."""
    words = ("docker", "ps", "-a", "--format", '{{.Names}}\t{{.Label "io.kubernetes.pod.name"}}\t{{.Status}}')
    rows = (line.split("\t") for line in project.in_node(*words).splitlines())
    return {name: status for name, pod, status in rows if not pod}


def builds(project: Project, before: Collection[str]) -> list[str]:
    """Containers of builds that nobody waits for, in the cluster's daemon; `before` names those that were there."""
    deadline = time.monotonic() + 10
    while True:
        found = no_pods(project).items()
        left = [f"container {name} of a build is left: {status}" for name, status in found if name not in before]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def cluster(project: Project) -> list[str]:
    """Locks and releases as they are to be when nobody is at work."""
    found = []
    leases = json.loads(project.kubectl("get", "lease", "--namespace", "default", "-o", "json"))["items"]
    found += ["the Lease is still held" for one in leases if one["metadata"]["name"] == _LEASE]
    history = json.loads(project.helm("history", RELEASE, "--namespace", "default", "-o", "json"))
    found += [
        f"helm revision {one['revision']} is {one['status']}" for one in history if one["status"].startswith("pending")
    ]
    if history[-1]["status"] != "deployed":
        found.append(f"helm's last revision {history[-1]['revision']} is {history[-1]['status']}")
    return found


def addresses(urls: Iterable[Mapping[str, Any]]) -> list[str]:
    """The URLs that do not answer."""
    found: list[str] = []
    count = 0
    for one in urls:
        count += 1
        with suppress_to(found, f"{one['url']} does not answer"):
            status = request("GET", one["url"]).status
            if status not in (200, 302, 307):
                found.append(f"{one['url']} answers {status}")
    return found if count else ["the run reported no URL"]


def data(ann: Browser, written: Iterable[str]) -> list[str]:
    """The tasks that were written and are not there any more."""
    found: list[str] = []
    with suppress_to(found, "the tasks cannot be read"):
        there = ann.tasks()
        found += [f"task `{title}` is lost" for title in written if title not in there]
    return found


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return True


class suppress_to(suppress):  # noqa: N801 - used as contextlib's own
    """While inside, an error becomes a line of what was found."""

    def __init__(self, found: list[str], words: str) -> None:
        super().__init__(Exception)
        self._found, self._words = found, words

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if error is not None and isinstance(error, Exception):
            self._found.append(f"{self._words}: {type(error).__name__} {str(error)[:200]}")
            return True
        return False
