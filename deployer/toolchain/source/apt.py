"""Debian packages on this machine: installed only when they are missing, the lists refreshed only when needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
from deployer.toolchain.model import STAGE, is_root


def can_install() -> bool:
    """Whether this is Debian or a relative of it, and we are root."""
    return is_root() and shutil.which("apt-get") is not None and Path("/etc/debian_version").exists()


def missing(packages: Iterable[str]) -> list[str]:
    """Those of the packages that are not installed."""
    wanted = list(packages)
    try:
        listed = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    except (CommandFailed, OSError):
        return wanted
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def ensure_packages(packages: Iterable[str], why: str, env: Mapping[str, str]) -> Steps[bool]:
    """The packages are installed; returns whether any had to be."""
    wanted = missing(packages)
    if not wanted:
        return False
    if not can_install():
        raise machine_error(
            "MACHINE_PACKAGES",
            f"{', '.join(wanted)} must be installed: {why}",
            hints=(f"sudo apt-get install {' '.join(wanted)}",),
        )
    yield Item(STAGE, "packages", ItemState.RUNNING, f"installing {', '.join(wanted)}")
    settings = {**env, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", *wanted]
    try:
        try:
            yield from _logged(install, settings)
        except CommandFailed:
            # Either the lists are old, or a dpkg was killed, which refuses everything until it may finish.
            yield from _logged(["apt-get", "-o", "DPkg::Lock::Timeout=120", "update"], settings)
            yield from _logged(["dpkg", "--configure", "-a"], settings)
            yield from _logged(install, settings)
    except CommandFailed as error:
        raise machine_error(
            "MACHINE_PACKAGES",
            f"the packages {', '.join(wanted)} could not be installed",
            detail="\n".join(error.tail),
            hints=("apt-get update && " + " ".join(install),),
        ) from error
    yield Item(STAGE, "packages", ItemState.DONE, f"installed {', '.join(wanted)}")
    return True


def _logged(argv: list[str], env: Mapping[str, str]) -> Steps[None]:
    for line in stream(argv, env=env):
        yield Log(STAGE, "packages", line)
