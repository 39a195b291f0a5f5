"""The toolchain as a value: which programs and images this machine uses, and why."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Setting = Literal["auto", "path", "download", "source"]
Way = Literal["path", "download", "source"]

STAGE = "toolchain"


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether upstream's download hosts, the container registries and the Debian mirror answer."""

    downloads: bool
    registries: bool
    packages: bool

    def in_words(self) -> str:
        """For `doctor`: one clause."""
        answers = {
            "download sites": self.downloads,
            "container registries": self.registries,
            "package registries": self.packages,
        }
        reached = [name for name, answer in answers.items() if answer]
        not_reached = [name for name, answer in answers.items() if not answer]
        parts = [f"{' and '.join(reached)} can be reached"] if reached else []
        parts += [f"{' and '.join(not_reached)} cannot"] if reached and not_reached else []
        return ", ".join(parts) or "nothing can be reached"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Programs that exist, and the options on images that `minikube start` needs."""

    way: Way
    why: str
    minikube: Path
    helm: Path
    kubectl: Path
    docker: Path
    bin: Path
    """A folder of links named minikube, helm, kubectl and docker, to be put in front of PATH."""
    versions: Mapping[str, str]
    kubernetes_version: str
    node_image: str | None
    kubernetes_binaries: Path | None
    offline_images: bool


def minikube_home(env: Mapping[str, str]) -> Path:
    """The folder where Minikube keeps its state, by Minikube's own rule."""
    given = env.get("MINIKUBE_HOME")
    if not given:
        return Path(env.get("HOME") or Path.home()) / ".minikube"
    home = Path(given)
    return home if home.name == ".minikube" else home / ".minikube"


def minor_version(version: str) -> tuple[int, int]:
    """Major and minor of a version such as v1.37.2."""
    major, minor, *_ = version.removeprefix("v").split(".")
    return int(major), int(minor)


def architecture() -> str:
    """This machine's architecture by Go's name."""
    machine = platform.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def operating_system() -> str:
    """This machine's operating system by Go's name."""
    return platform.system().lower()


def is_root() -> bool:
    """Whether the process may change the machine."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
