"""Minikube's cache filled with what was built here, so that `minikube start` fetches nothing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from deployer.core.files import draft
from deployer.toolchain.model import Toolchain, architecture, minikube_home

_PROGRAMS = ("kubeadm", "kubelet", "kubectl")


def seed_minikube(toolchain: Toolchain, env: Mapping[str, str]) -> bool:
    """Minikube finds kubeadm, kubelet and kubectl in its cache; returns whether any had to be put there.

    To be called before every `minikube start`. Does nothing where Minikube downloads them itself.
    """
    if toolchain.kubernetes_binaries is None:
        return False
    folder = minikube_home(env) / "cache" / "linux" / architecture() / toolchain.kubernetes_version
    changed = False
    for name in _PROGRAMS:
        changed |= _copied(toolchain.kubernetes_binaries / name, folder / name)
    return changed


def _copied(source: Path, target: Path) -> bool:
    built, there = source.stat(), target.stat() if target.exists() else None
    if there is not None and (there.st_size, int(there.st_mtime)) == (built.st_size, int(built.st_mtime)):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    with draft(target, lambda _: None) as complete:
        shutil.copy2(source, complete)  # with its time, by which the next run knows it
        complete.replace(target)
    return True
