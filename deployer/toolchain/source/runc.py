"""runc-fit as Docker's default runtime, on machines that lack a capability and nowhere else.

Without CAP_SYS_RESOURCE in its bounding set a machine refuses every privileged container, and Minikube's node
is one. `recipes/runc-fit` trims such requests and then runs runc.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deployer.core.errors import Problem, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.files import write_private
from deployer.core.process import CommandFailed, run
from deployer.core.steps import Steps
from deployer.toolchain.files import read_json, write_json
from deployer.toolchain.model import STAGE, is_root
from deployer.toolchain.pins import RUNC_FIT
from deployer.toolchain.source.go import built, ensure_built, ensure_go

NAME = "runc-fit"
PROGRAM = Path("/usr/local/libexec/runc-fit")
CONFIGURATION = Path("/etc/docker/daemon.json")
_CAP_SYS_RESOURCE = 24


@cache
def is_needed() -> bool:
    """Whether this machine lacks CAP_SYS_RESOURCE."""
    if sys.platform != "linux":
        return False
    return lacks_capability(Path("/proc/self/status").read_text(encoding="utf-8"))


def lacks_capability(status: str) -> bool:
    """Whether a /proc/…/status of root shows a bounding set without CAP_SYS_RESOURCE."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapBnd":
            return not int(value, 16) >> _CAP_SYS_RESOURCE & 1
    return False


def is_fitting(docker: Path, env: Mapping[str, str]) -> bool:
    """Whether the running daemon can run privileged containers on this machine, as far as runtimes go."""
    if not is_needed() or not is_root():
        return True
    try:
        default = run([docker, "info", "--format", "{{.DefaultRuntime}}"], env=env, timeout=20).strip()
    except (CommandFailed, subprocess.TimeoutExpired):
        return False
    return default == NAME


def ensure_runtime(cache_dir: Path, env: Mapping[str, str]) -> Steps[bool]:
    """Where it is needed, runc-fit is installed and configured; returns whether Docker must read it anew."""
    if not is_needed() or not is_root():
        return False
    if not built(cache_dir, RUNC_FIT).is_dir():
        go = yield from ensure_go(cache_dir, env)
        yield from ensure_built(cache_dir, go, [RUNC_FIT], env)
    program = (built(cache_dir, RUNC_FIT) / NAME).read_bytes()
    if not PROGRAM.exists() or PROGRAM.read_bytes() != program:
        # Docker runs it by path for each container: no restart is needed for a new one.
        write_private(PROGRAM, program, 0o755, sync=True)
    before = read_json(CONFIGURATION)
    if before is None and CONFIGURATION.exists() and CONFIGURATION.read_text(encoding="utf-8").strip():
        raise machine_error(
            "DOCKER_CONFIGURATION",
            "Docker's configuration is not a JSON object",
            where=str(CONFIGURATION),
            hints=(f"correct {CONFIGURATION}",),
        )
    after = with_runtime(before or {})
    if after == before:
        return False
    write_json(CONFIGURATION, after)
    yield Item(STAGE, NAME, ItemState.DONE, f"this machine lacks CAP_SYS_RESOURCE: set in {CONFIGURATION}")
    return True


def with_runtime(configuration: Mapping[str, object]) -> dict[str, object]:
    """Docker's configuration with runc-fit as default runtime, everything else as it was."""
    runtimes = configuration.get("runtimes")
    known = dict(runtimes) if isinstance(runtimes, dict) else {}
    return {
        **configuration,
        "runtimes": {**known, NAME: {"path": str(PROGRAM)}},
        "default-runtime": NAME,
    }


def restart_needed(command: str) -> Problem:
    """The daemon runs with an older configuration, and is not ours to restart."""
    return Problem(
        "DOCKER_RESTART",
        "Docker must be restarted before it can run Minikube's node on this machine",
        detail=f"{CONFIGURATION} now sets {NAME} as default runtime; the running daemon is not this tool's",
        where=str(CONFIGURATION),
        hints=(command,),
    )
