"""Faults under way: something breaks while an `up` is at work; it ends well or with a named error, the next well."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.chaos import changes
from bench.chaos.deployment import HOLD, Deployment
from bench.chaos.kills import token
from bench.chaos.victim import Victim
from deployer.composition import this_machine
from deployer.core.steps import drive
from deployer.toolchain import ensure_docker, minikube_home
from deployer.toolchain.files import read_json
from tests.cluster import PROFILE
from tests.e2e.project import Project
from tests.processes import runs

_STAGE_SECONDS = 120.0
# A run that waits for what does not come back gives up by itself in this time.
_END_SECONDS = 400.0
_CUT_SECONDS = 20.0
_FULL = "/var/lib/docker/chaos-full"
# What fills up must be small and nobody else's.
_LARGEST_DISK_GIB = 16
_CUT = ("-i", "eth0", "-p", "tcp", "--dport", "8443", "-j", "DROP")


@dataclass(frozen=True, slots=True)
class Fault:
    """What breaks, in which stage of an `up` that has this to do, and how it is put right where it stays broken.

    No stage: before the `up` begins.
    """

    name: str
    stage: str
    change: str
    inject: Callable[[Project], None]
    undo: Callable[[Project], None] | None = None
    whole_host: bool = False
    needs_small_disk: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """How the `up` ended under which something broke, and how the next one did."""

    fault: Fault
    injected: bool
    exit_code: int
    problems: tuple[Mapping[str, object], ...]
    seconds: float
    next_seconds: float
    reported_after: float | None
    """Seconds from the end of the node's container until the failure was reported; None where it ran on."""
    complaints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return not self.complaints

    @property
    def result(self) -> str:
        """The exit code and, of a failure, its first problem with the command that comes next."""
        if not self.problems:
            return f"exit {self.exit_code}"
        first = self.problems[0]
        hints = first.get("hints") or []
        after = f" {self.reported_after:.1f} s after the node's end" if self.reported_after is not None else ""
        following = hints[0] if isinstance(hints, list) and hints else "?"
        return f"exit {self.exit_code}: {first['code']}{after}, next: {following}"


def try_fault(fault: Fault, made: Deployment) -> Ended:
    """The fault was injected into an `up`, put right, and another `up` was run; all that is not as it must be."""
    made.write_task(f"before {fault.name} {token(0)}")
    changes.make(fault.change, token(0), made.project, made.wanted)
    mark = token(0)
    if not fault.stage:
        fault.inject(made.project)
    run = made.start(mark, "up", "--hold", HOLD)
    found = []
    injected = not fault.stage or run.await_stage(fault.stage, _STAGE_SECONDS)
    try:
        if injected and fault.stage:
            fault.inject(made.project)
        elif not injected:
            found.append(f"it ended before {fault.stage}")
        code = run.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        code = -1
        found.append(f"it did not end within {_END_SECONDS:.0f} s")
    finally:
        if fault.undo is not None:
            fault.undo(made.project)
    seconds = run.seconds
    problems = tuple(run.document.get("errors") or ())
    if code and not (problems and all(one["code"] and one["code"] != "BUG" and one["hints"] for one in problems[:1])):
        found.append(f"exit code {code} without a named error that says what comes next: {problems[:1]}")
    reported_after = _reported_after(run, made.project)
    begun = time.monotonic()
    following = made.up(token(0))
    next_seconds = time.monotonic() - begun
    found += made.complaints(following, mark)
    if following.process.returncode == 0:
        found += made.unfinished({one["name"]: one["ref"] for one in following.document["data"]["images"]})
    return Ended(fault, injected, code, problems, seconds, next_seconds, reported_after, tuple(found))


def _reported_after(run: Victim, project: Project) -> float | None:
    words = [str(project.toolchain.docker), "inspect", "--format", "{{.State.Running}} {{.State.FinishedAt}}", PROFILE]
    running, ended = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    reported = [datetime.fromisoformat(event["at"]) for event in run.events if event["type"] == "stage_failed"]
    if running == "true" or not reported:
        return None
    return (reported[0] - datetime.fromisoformat(ended)).total_seconds()


def refusal(fault: Fault, project: Project) -> str:
    """Why the fault cannot be injected honestly here; empty where it can."""
    if fault.needs_small_disk and disk_gib(project) > _LARGEST_DISK_GIB:
        return (
            f"the node's disk is the machine's own ({disk_gib(project)} GiB): give the profile a small one first "
            f"(python -m bench.chaos disk)"
        )
    return ""


def disk_gib(project: Project) -> int:
    """The size of the file system that the node's images and containers are on."""
    return int(project.in_node("df", "--output=size", "--block-size=1G", "/var/lib/docker").split()[-1])


def _kill_api_server(project: Project) -> None:
    project.in_node("sh", "-c", "docker kill $(docker ps -q --filter name=k8s_kube-apiserver)")


def _restart_node_daemon(project: Project) -> None:
    project.in_node("systemctl", "restart", "docker")


def _stop(project: Project) -> None:
    project.minikube("stop")


def _kill_node(project: Project) -> None:
    subprocess.run([str(project.toolchain.docker), "kill", PROFILE], check=True, stdout=subprocess.DEVNULL)


def _cut(project: Project) -> None:
    """The node's API server is not reached from outside for a while; the node itself still reaches it."""
    project.in_node("iptables", "-I", "INPUT", "1", *_CUT)
    threading.Timer(_CUT_SECONDS, _mend, (project,)).start()


def _mend(project: Project) -> None:
    project.in_node("sh", "-c", f"while iptables -D INPUT {' '.join(_CUT)} 2>/dev/null; do :; done")


def _freeze(project: Project) -> None:
    docker = str(project.toolchain.docker)
    subprocess.run([docker, "pause", PROFILE], check=True, stdout=subprocess.DEVNULL)
    time.sleep(_CUT_SECONDS)
    subprocess.run([docker, "unpause", PROFILE], check=True, stdout=subprocess.DEVNULL)


def _fill(project: Project) -> None:
    """Not a byte is left: in one piece what can be, and the rest by and by."""
    free = project.in_node("df", "--output=avail", "--block-size=1", "/var/lib/docker").split()[-1]
    project.in_node("sh", "-c", f"fallocate -l {free} {_FULL} 2>/dev/null; cat /dev/zero >> {_FULL} 2>/dev/null; true")


def _empty(project: Project) -> None:
    project.in_node("rm", "-f", _FULL)


def _restart_host_daemon(project: Project) -> None:
    """The machine's own daemon, as this tool has started it, ends with all its containers and is started again."""
    here = this_machine()
    pid = (read_json(here.state_dir / "dockerd.json") or {}).get("pid")
    assert isinstance(pid, int), "only a daemon that todo-deploy started can be started again in the same way"
    subprocess.run(["kill", str(pid)], check=True)
    deadline = time.monotonic() + 60
    while runs(pid):
        assert time.monotonic() < deadline, "dockerd does not end"
        time.sleep(0.2)
    drive(ensure_docker(here.cache_dir, here.state_dir, here.env), lambda event: None)


def _expire(project: Project) -> None:
    """The certificate by which the API server knows us is of yesterday."""
    home = minikube_home(os.environ)
    profile = home / "profiles" / PROFILE
    with tempfile.TemporaryDirectory() as folder:
        request = f"{folder}/request"
        words: list[str | Path] = ["openssl", "req", "-new", "-key", profile / "client.key", "-out", request]
        subprocess.run([*words, "-subj", "/O=system:masters/CN=minikube-user"], check=True, capture_output=True)
        words = ["openssl", "x509", "-req", "-in", request, "-CA", home / "ca.crt", "-CAkey", home / "ca.key"]
        words += ["-set_serial", "7", "-days", "-1", "-out", profile / "client.crt"]
        subprocess.run(words, check=True, capture_output=True)


FAULTS = (
    Fault("certificate expired, before the run", "", "value", _expire),
    Fault("node disk 100 % full, in a build", "images", "page", _fill, _empty, needs_small_disk=True),
    Fault("API server killed, while Secrets are written", "secrets", "secret", _kill_api_server),
    Fault("network to the API server cut for 20 s, while helm is at work", "releases", "value", _cut, _mend),
    Fault("the node's Docker daemon restarted, in a build", "images", "page", _restart_node_daemon),
    Fault("minikube stop, in a build", "images", "page", _stop),
    Fault("minikube stop, in the rollout", "rollout", "secret", _stop),
    Fault("API server killed, while helm is at work", "releases", "value", _kill_api_server),
    Fault("network to the API server cut for 20 s, in the rollout", "rollout", "secret", _cut, _mend),
    Fault("the node's Docker daemon restarted, in the rollout", "rollout", "value", _restart_node_daemon),
    Fault("API server killed, in the rollout", "rollout", "line", _kill_api_server),
    Fault("node frozen for 20 s, in the rollout", "rollout", "value", _freeze),
    Fault("the machine's Docker daemon restarted, in a build", "images", "page", _restart_host_daemon, whole_host=True),
    Fault("the machine's Docker daemon restarted, in the rollout", "rollout", "value", _restart_host_daemon,
          whole_host=True),
    Fault("the node's container killed, in a build", "images", "page", _kill_node),
    Fault("the node's container killed, while helm is at work", "releases", "value", _kill_node),
    Fault("the node's container killed, in the rollout", "rollout", "line", _kill_node),
)  # fmt: skip
