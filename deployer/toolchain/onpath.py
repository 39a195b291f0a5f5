"""Programs that are on PATH and new enough."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.core.process import CommandFailed, run
from deployer.toolchain.pins import HELM_AT_LEAST, HELM_BELOW, KUBERNETES, MINIKUBE_AT_LEAST

NAMES = ("minikube", "helm", "kubectl")

_QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "minikube": ("version", "--short"),
    "helm": ("version", "--short"),
    "kubectl": ("version", "--client", "--output=json"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A program on PATH; `unfit` says why it cannot be used ("" when it can)."""

    path: Path
    version: str
    unfit: str


def look(name: str, env: Mapping[str, str]) -> Found | None:
    """The program on PATH and what it says of itself, or None where there is none."""
    path = shutil.which(name, path=env.get("PATH"))
    if path is None:
        return None
    try:
        said = run([path, *_QUESTIONS[name]], env=env, timeout=20)
    except (CommandFailed, OSError, subprocess.TimeoutExpired) as error:
        return Found(Path(path), "", f"does not tell its version ({error})")
    match = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", said)
    if match is None:
        return Found(Path(path), "", "does not tell its version")
    return Found(Path(path), match[0], unfit(name, (int(match[1]), int(match[2]))))


def unfit(name: str, version: tuple[int, int]) -> str:
    """Why this version of the program cannot be used, or ""."""
    if name == "minikube" and version < MINIKUBE_AT_LEAST:
        return f"is older than {_text(MINIKUBE_AT_LEAST)}"
    if name == "helm" and not HELM_AT_LEAST <= version < HELM_BELOW:
        return f"is not at least {_text(HELM_AT_LEAST)} and below {_text(HELM_BELOW)}"
    if name == "kubectl":
        major, minor = (int(part) for part in KUBERNETES.removeprefix("v").split(".")[:2])
        if version[0] != major or abs(version[1] - minor) > 1:
            return f"is more than one minor version away from Kubernetes {KUBERNETES}"
    return ""


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
