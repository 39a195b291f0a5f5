"""The images a cluster is made of where no container registry can be reached: the node and the control plane.

Minikube looks in the host's Docker before it asks a registry, so the control plane's images carry upstream's
names. The node image is built in layers: the operating system (slow, from packages) while programs are
compiled, then the programs, then what a machine without CAP_SYS_RESOURCE needs.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployer.core.files import draft
from deployer.core.steps import Steps
from deployer.toolchain.files import RECIPES
from deployer.toolchain.model import Toolchain, architecture, minikube_home
from deployer.toolchain.pins import BUILDS, CNI_PLUGINS, CONTROL_PLANE, KUBERNETES, RUNC_FIT, Build, ControlPlaneImage
from deployer.toolchain.source import runc
from deployer.toolchain.source.debian import base_digest, base_ref
from deployer.toolchain.source.go import built
from deployer.toolchain.source.images import OURS, BuildHost, Recipe, ensure_image

_BUILDS: Mapping[str, Build] = {build.name: build for build in BUILDS}
_IN_MINIKUBE = ("kubeadm", "kubelet", "kubectl")
_NODE = RECIPES / "node"
_IMAGES = RECIPES / "images"
_OS_FILES = ("journald.conf", "sshd.conf", "hostpath-dir.service", "cri-docker.service", "cri-docker.socket")


def node_os(env: Mapping[str, str]) -> Recipe:
    """The node without our programs."""
    return _named(
        "node-os",
        Recipe(
            "",
            _NODE / "os.Dockerfile",
            files={name: _NODE / name for name in _OS_FILES},
            arguments={"BASE": base_ref()},
            parent=base_digest(env),
        ),
    )


def kube_proxy_os(env: Mapping[str, str]) -> Recipe:
    """What kube-proxy stands on."""
    return _named(
        "kube-proxy-os",
        Recipe("", _IMAGES / "kube-proxy-os.Dockerfile", arguments={"BASE": base_ref()}, parent=base_digest(env)),
    )


def node(cache_dir: Path, env: Mapping[str, str]) -> Recipe:
    """The node with all programs, as upstream's kicbase is on a machine that grants everything."""
    system, programs = node_os(env), built(cache_dir, _BUILDS["kubernetes"])
    return _named(
        f"node:{KUBERNETES}",
        Recipe(
            "",
            _NODE / "Dockerfile",
            files={"entrypoint": _NODE / "entrypoint"},
            programs={
                "crictl": programs / "crictl",
                "cri-dockerd": built(cache_dir, _BUILDS["cri-dockerd"]) / "cri-dockerd",
                **{f"cni/{Path(name).name}": programs / Path(name).name for name in CNI_PLUGINS},
            },
            arguments={"OS": system.ref},
            parent=system.digest(),
        ),
    )


def fitted_node(cache_dir: Path, env: Mapping[str, str]) -> Recipe:
    """The node for a machine without CAP_SYS_RESOURCE."""
    plain = node(cache_dir, env)
    return _named(
        f"node:{KUBERNETES}-fit",
        Recipe(
            "",
            _NODE / "fit.Dockerfile",
            files={"bounds.conf": _NODE / "bounds.conf"},
            programs={"runc-fit": built(cache_dir, RUNC_FIT) / "runc-fit"},
            arguments={"NODE": plain.ref},
            parent=plain.digest(),
        ),
    )


def node_ref(cache_dir: Path, env: Mapping[str, str]) -> str:
    """The name of the node image that suits this machine."""
    return (fitted_node if runc.is_needed() else node)(cache_dir, env).ref


def control_plane(image: ControlPlaneImage, cache_dir: Path, env: Mapping[str, str]) -> Recipe:
    """One image of the control plane."""
    arguments: dict[str, str] = {}
    parent = ""
    if image.dockerfile == "binary.Dockerfile":
        arguments = {"PROGRAM": image.program}
    elif image.dockerfile in ("kube-proxy.Dockerfile", "kindnetd.Dockerfile"):
        system = kube_proxy_os(env)
        arguments, parent = {"OS": system.ref}, system.digest()
    elif image.dockerfile == "pause.Dockerfile":
        arguments, parent = {"BASE": base_ref()}, base_digest(env)
    programs = {image.program: built(cache_dir, _BUILDS[image.build]) / image.program} if image.build else {}
    return Recipe(image.ref, _IMAGES / image.dockerfile, programs=programs, arguments=arguments, parent=parent)


def systems(env: Mapping[str, str]) -> tuple[Recipe, ...]:
    """The images that need packages and none of our programs."""
    return node_os(env), kube_proxy_os(env)


def of_programs(cache_dir: Path, env: Mapping[str, str]) -> tuple[Recipe, ...]:
    """The node image that suits this machine, with what it stands on, and the control plane's images."""
    nodes = (node(cache_dir, env), *((fitted_node(cache_dir, env),) if runc.is_needed() else ()))
    return (*nodes, *(control_plane(image, cache_dir, env) for image in CONTROL_PLANE))


def ensure_systems(host: BuildHost) -> Steps[bool]:
    """The images that need packages and none of our programs exist."""
    changed = False
    for recipe in systems(host.env):
        changed |= yield from ensure_image(host, recipe)
    return changed


def ensure_cluster_images(host: BuildHost) -> Steps[bool]:
    """The node image and the control plane's images exist; Minikube's own copies of older ones are gone."""
    changed = False
    for recipe in of_programs(host.cache_dir, host.env):
        if (yield from ensure_image(host, recipe)):
            forget_cached(recipe.ref, host.env)
            changed = True
    return changed


def cluster_images(cache_dir: Path, env: Mapping[str, str]) -> list[str]:
    """The images that `ensure_cluster_images` does not make of programs alone; some are only on some machines.

    All others are made of what is built already, in a second each and without a network.
    """
    recipes = [node_os(env), kube_proxy_os(env), node(cache_dir, env), fitted_node(cache_dir, env)]
    fetching = [image.ref for image in CONTROL_PLANE if _runs(_IMAGES / image.dockerfile)]
    return [base_ref(), *(one.ref for one in recipes), *fetching]


def _runs(dockerfile: Path) -> bool:
    return any(line.startswith("RUN ") for line in dockerfile.read_text(encoding="utf-8").splitlines())


def forget_cached(ref: str, env: Mapping[str, str]) -> None:
    """Minikube's cache holds no file of this image: it would be loaded instead of the new one."""
    folder = minikube_home(env) / "cache" / "images" / architecture()
    cached = folder / ref.replace(":", "_")
    if cached.is_dir():
        shutil.rmtree(cached)
    cached.unlink(missing_ok=True)


def seed_minikube(toolchain: Toolchain, env: Mapping[str, str]) -> bool:
    """Minikube finds kubeadm, kubelet and kubectl in its cache; returns whether any had to be put there.

    To be called before every `minikube start`. Does nothing where Minikube downloads them itself.
    """
    if toolchain.kubernetes_binaries is None:
        return False
    folder = minikube_home(env) / "cache" / "linux" / architecture() / toolchain.kubernetes_version
    changed = False
    for name in _IN_MINIKUBE:
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


def _named(stem: str, recipe: Recipe) -> Recipe:
    """The recipe under a name of ours that ends with its digest, so that two never share a name.

    The name leaves out what is particular to the machine (the parent's label does not): the same sources
    have the same name everywhere.
    """
    repository, _, tag = stem.partition(":")
    name = f"{OURS}/{repository}:{tag + '-' if tag else ''}{replace(recipe, parent='').digest()[:8]}"
    return replace(recipe, ref=name)
