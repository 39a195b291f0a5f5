"""The host's Docker: which daemon it is, installed where that is ours to do, running, and able to run a Minikube node.

By `docker`'s own contexts where no DOCKER_HOST says it (https://docs.docker.com/engine/manage-resources/contexts/).
`ensure_docker` is quick where Docker answers. On Debian and Ubuntu as root it installs Docker, and starts it
through systemd, or in the background where there is no systemd. Everywhere else it says what is wrong and
what the next command is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deployer.core.errors import DeployError, ExitCode, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.ports import DockerEndpoint
from deployer.core.process import CommandFailed, has_ended, run, start_time
from deployer.core.reading import text_if_any
from deployer.core.steps import Steps
from deployer.status.objects import dig
from deployer.toolchain.files import locked, read_json, write_json
from deployer.toolchain.model import STAGE, is_root
from deployer.toolchain.source import runc
from deployer.toolchain.source.debian import can_install, ensure_packages

DEFAULT = "default"


def docker_folder(env: Mapping[str, str]) -> Path:
    """Where Docker's client keeps its configuration."""
    given = env.get("DOCKER_CONFIG")
    return Path(given) if given else Path(env.get("HOME") or Path.home()) / ".docker"


def context_name(env: Mapping[str, str]) -> str:
    """The context that `docker` uses: that of DOCKER_CONTEXT, or of `docker context use`; DOCKER_HOST goes before."""
    if env.get("DOCKER_HOST"):
        return DEFAULT
    configured = (read_json(docker_folder(env) / "config.json") or {}).get("currentContext")
    return env.get("DOCKER_CONTEXT") or str(configured or DEFAULT)


def context_endpoint(env: Mapping[str, str]) -> DockerEndpoint | None:
    """The daemon of the context; None for the default one. Machine error where there is no such context."""
    name = context_name(env)
    if name == DEFAULT:
        return None
    contexts, key = docker_folder(env) / "contexts", hashlib.sha256(name.encode()).hexdigest()
    host = dig(read_json(contexts / "meta" / key / "meta.json"), "Endpoints", "docker", "Host")
    if not host:
        title = f"there is no Docker context `{name}`, or it names no Docker daemon"
        hints = ("docker context ls", "docker context use default")
        raise machine_error("DOCKER_UNREACHABLE", title, hints=hints)
    certificates = contexts / "tls" / key / "docker"
    return DockerEndpoint(str(host), certificates if (certificates / "cert.pem").is_file() else None)


# conntrack, socat and ethtool are what kubeadm's checks look for; iptables is only recommended by docker.io.
PACKAGES = ("docker.io", "iptables", "iproute2", "conntrack", "socat", "ethtool")

START_SECONDS = 90.0
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PID_FILES = (
    (Path("/var/run/docker.pid"), "dockerd"),
    (Path("/var/run/docker/containerd/containerd.pid"), "containerd"),
)


def ensure_docker(cache_dir: Path, state_dir: Path, env: Mapping[str, str]) -> Steps[Path]:
    """Docker answers; returns the path of its command line client."""
    docker = _client(env)
    if docker is not None:
        trouble = _trouble(docker, env)
        if trouble is None:
            if runc.is_fitting(docker, env):
                yield Item(STAGE, "docker", ItemState.UNCHANGED)
                return docker
        elif "permission denied" in trouble.lower():
            raise permission_error(trouble)
        elif elsewhere := _elsewhere(env):
            title = "Docker does not answer at the address in DOCKER_HOST, or of its context"
            raise machine_error("DOCKER_UNREACHABLE", title, detail=trouble, hints=("docker version", elsewhere))
    return (yield from locked(cache_dir, _prepare(cache_dir, state_dir, env)))


def _elsewhere(env: Mapping[str, str]) -> str:
    """The command that leads back to this machine's own Docker; empty where that is the one that is asked."""
    if env.get("DOCKER_HOST") or env.get("DOCKER_CONTEXT"):
        return "unset DOCKER_HOST DOCKER_CONTEXT"
    return "docker context use default" if context_name(env) != DEFAULT else ""


def permission_error(detail: str) -> DeployError:
    """Docker is there, but this user may not talk to it."""
    user = os.environ.get("USER", "$USER")
    return machine_error(
        "DOCKER_PERMISSION",
        "Docker runs, but this user may not use it",
        detail=detail,
        hints=(f"sudo usermod -aG docker {user} && newgrp docker",),
    )


def docker_mending(env: Mapping[str, str]) -> str:
    """The command that brings back a Docker that does not answer this user, whom it does not keep out."""
    if elsewhere := _elsewhere(env):
        return elsewhere
    if _client(env) is None and not can_install():
        return _missing().problems[0].hints[0]
    return "todo-deploy doctor --fix" if sys.platform == "linux" and is_root() else _starting()


def _starting() -> str:
    return "open -a Docker" if sys.platform == "darwin" else "sudo systemctl start docker"


def _prepare(cache_dir: Path, state_dir: Path, env: Mapping[str, str]) -> Steps[Path]:
    docker = _client(env)
    if docker is None or (sys.platform == "linux" and is_root() and shutil.which("dockerd", path=_path(env)) is None):
        if not can_install():
            raise _missing()
        # The runtime is set up first: installing the package may start Docker.
        yield from runc.ensure_runtime(cache_dir, env)
        yield from ensure_packages(PACKAGES, "Docker runs Minikube's node", env)
        docker = _client(env) or Path("/usr/bin/docker")
    changed = yield from runc.ensure_runtime(cache_dir, env)
    if _trouble(docker, env) is None:
        if changed or not runc.is_fitting(docker, env):
            yield from _restart(docker, state_dir, env)
        yield Item(STAGE, "docker", ItemState.DONE)
        return docker
    yield from _start(docker, state_dir, env)
    return docker


def _client(env: Mapping[str, str]) -> Path | None:
    found = shutil.which("docker", path=_path(env))
    return Path(found) if found else None


def _path(env: Mapping[str, str]) -> str:
    # dockerd lives in sbin, which is not on the PATH of every account.
    return os.pathsep.join([env.get("PATH", os.defpath), *_SBIN])


def _trouble(docker: Path, env: Mapping[str, str]) -> str | None:
    """Why the daemon does not answer, or None when it does."""
    try:
        run([docker, "version", "--format", "{{.Server.Version}}"], env=env, timeout=20)
    except CommandFailed as error:
        return error.output or "docker version failed"
    except subprocess.TimeoutExpired:
        return "docker version did not answer within 20 s"
    return None


def _missing() -> DeployError:
    if sys.platform == "darwin":
        hints: tuple[str, ...] = ("brew install --cask docker", "open -a Docker")
    elif Path("/etc/debian_version").exists():
        hints = (f"sudo apt-get install {' '.join(PACKAGES)}",)
    else:
        hints = ("install Docker Engine: https://docs.docker.com/engine/install/",)
    return machine_error("DOCKER_MISSING", "Docker is not installed", hints=hints)


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _start(docker: Path, state_dir: Path, env: Mapping[str, str]) -> Steps[None]:
    if sys.platform != "linux" or not is_root():
        raise machine_error(
            "DOCKER_STOPPED",
            "Docker is installed but does not run",
            hints=(_starting(),),
        )
    yield Item(STAGE, "docker", ItemState.RUNNING, "starting")
    log = state_dir / "dockerd.log"
    pid: int | None = None
    if _has_systemd():
        with suppress(CommandFailed):
            run(["systemctl", "start", "docker"], env=env, timeout=START_SECONDS)
    else:
        _forget_dead()
        pid = _spawn(log, env)
        write_json(state_dir / "dockerd.json", {"pid": pid, "started": start_time(pid)})
    deadline = time.monotonic() + START_SECONDS
    while (trouble := _trouble(docker, env)) is not None:
        ended = pid is not None and has_ended(pid)
        if ended or time.monotonic() > deadline:
            raise machine_error(
                "DOCKER_START",
                "Docker could not be started",
                detail="\n".join([trouble, *text_if_any(log).splitlines()[-15:]]) if pid else trouble,
                where=str(log) if pid else "",
                hints=("journalctl -u docker -n 50" if pid is None else f"tail -50 {log}",),
            )
        time.sleep(0.2)
    yield Item(STAGE, "docker", ItemState.DONE, "started" + ("" if pid is None else f", log in {log}"))


def _spawn(log: Path, env: Mapping[str, str]) -> int:
    """dockerd in a session of its own: neither Ctrl-C nor our end reaches it. Returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    dockerd = shutil.which("dockerd", path=_path(env)) or "dockerd"
    words = ["/bin/sh", "-c", 'cd / && exec "$0"', dockerd]
    return os.posix_spawn(
        words[0],
        words,
        {**env, "PATH": _path(env)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def _forget_dead() -> None:
    """No pid file holds the number of a process that is no longer Docker's.

    After a hard kill Docker believes its pid file when any process has that number by now.
    """
    for path, name in _PID_FILES:
        with suppress(OSError, ValueError):
            pid = int(path.read_text(encoding="utf-8"))
            if text_if_any(Path(f"/proc/{pid}/comm")).strip() != name:
                path.unlink()


def _restart(docker: Path, state_dir: Path, env: Mapping[str, str]) -> Steps[None]:
    """A daemon that we started reads its changed configuration; another's is left alone."""
    ours = read_json(state_dir / "dockerd.json") or {}
    pid = ours.get("pid")
    if not isinstance(pid, int) or not ours.get("started") or start_time(pid) != ours["started"]:
        command = "systemctl restart docker" if _has_systemd() else "stop dockerd; todo-deploy up starts it again"
        raise DeployError(runc.restart_needed(command), ExitCode.MACHINE)
    yield Item(STAGE, "docker", ItemState.RUNNING, "restarting for its changed configuration")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while start_time(pid) == ours["started"] and time.monotonic() < deadline:
        has_ended(pid)  # one that we started in this very run stays a zombie until it is asked for
        time.sleep(0.1)
    yield from _start(docker, state_dir, env)
