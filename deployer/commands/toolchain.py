"""The toolchain as the pipeline needs it: programs ready, Docker running, base images where builds find them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from urllib.parse import urlsplit

from deployer import composition
from deployer.composition import Connected, Machine
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import DockerEndpoint
from deployer.core.steps import Outcome, Steps, within
from deployer.images.delivery import no_way
from deployer.plan import ImagePlan
from deployer.sources import load
from deployer.stages import images as images_stage
from deployer.state.build_cache import Previous
from deployer.toolchain import (
    Toolchain,
    ensure_docker,
    ensure_replacements,
    ensure_toolchain,
    locate_toolchain,
    replacement_of,
)

_FIRST_RUN = Problem(
    "FIRST_RUN",
    "first run on this machine: minikube, helm and kubectl are searched for, downloaded or built",
    detail="about 4 minutes with downloads, about 10 from source on two cores; 12 to 20 GB of disk, 8 GB of memory",
)
# Docker's own predefined build arguments (docs.docker.com/reference/dockerfile): never part of an image's history.
_PROXY_ARGS = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def ensure_tools(spec: Spec, here: Machine, bases: Callable[[], Iterable[str]] = tuple) -> Steps[Outcome[Toolchain]]:
    """Docker runs and every program is there; where they are, this takes milliseconds and starts no process.

    `bases` says which base images the application is built on: those that cannot be pulled are made meanwhile.
    """
    found = locate_toolchain(spec.toolchain, here.cache_dir)
    if found is None:
        yield Warned(_FIRST_RUN)
        made = yield from prepare_cluster_start(spec, here, bases())
        return Outcome(made, True, made.why)
    if listens(here.host_docker):
        return Outcome(found, False, found.way)
    yield from ensure_docker(here.cache_dir, here.state_dir, here.env)
    return Outcome(found, True, "Docker started")


def prepare_cluster_start(spec: Spec, here: Machine, bases: Iterable[str] = ()) -> Steps[Toolchain]:
    """Everything that starting a cluster needs is there: Docker, programs, and the images in the host's Docker."""
    docker = yield from ensure_docker(here.cache_dir, here.state_dir, here.env)
    return (yield from ensure_toolchain(spec.toolchain, here.cache_dir, here.env, docker, bases))


def replacements_for(toolchain: Toolchain | None, bases: Iterable[str]) -> dict[str, str]:
    """Base image → the image that replaces it on this machine; empty where images can be pulled."""
    if toolchain is None or not toolchain.offline_images:
        return {}
    return {base: found for base in bases if (found := replacement_of(base)) is not None}


def builder(run: Connected) -> DockerEndpoint:
    """The daemon that builds for the run's cluster; machine error where images have no way to it."""
    daemon = composition.builder_of(run.machine, run.way, run.facts)
    if daemon is None:
        raise DeployError(no_way(run.way), ExitCode.MACHINE)
    return daemon


def ensure_images(
    run: Connected,
    loaded: LoadedSpec,
    images: Sequence[ImagePlan],
    before: Mapping[str, Previous],
    how: images_stage.Building,
) -> Steps[Outcome[tuple[images_stage.BuiltImage, ...]]]:
    """The images of the spec are where the run's cluster finds them; `how` is completed by what the run knows."""
    machine, seen = run.machine, (run.way, run.facts)
    daemon, bases = builder(run), load.wanted_bases(loaded, run.values)

    def supply(lacking: Sequence[str]) -> Steps[None]:
        yield from supply_bases(lacking, bases, run.toolchain, daemon, machine)

    building = replace(
        how,
        args=proxy_args(machine.env),
        prelude=load.build_prelude(run.loaded),
        values=run.values,
        offline=run.toolchain.offline_images,
    )
    delivery = composition.open_delivery(machine, run.spec.cluster, run.toolchain, seen, run.why_stopped)
    return (yield from images_stage.ensure_images(images, delivery, supply, before, building, run.clock))


def supply_bases(
    lacking: Sequence[str], bases: Sequence[str], toolchain: Toolchain, daemon: DockerEndpoint, here: Machine
) -> Steps[None]:
    """The replacements of lacking base images are in the cluster's daemon; the others are pulled by the build."""
    wanted = {base: ref for base, ref in replacements_for(toolchain, bases).items() if ref in lacking}
    if not wanted:
        return
    yield from within(images_stage.STAGE, ensure_replacements(wanted, toolchain, here.cache_dir, here.env))
    refs = sorted(set(wanted.values()))
    yield Item(images_stage.STAGE, "base images", ItemState.RUNNING, f"copying {len(refs)} into the cluster's daemon")
    composition.open_images(here.host_docker).copy_to(daemon, refs)
    yield Item(images_stage.STAGE, "base images", ItemState.DONE, ", ".join(sorted(wanted)))


def proxy_args(env: Mapping[str, str]) -> dict[str, str]:
    """The machine's proxy settings as build arguments."""
    return {name: value for name in _PROXY_ARGS if (value := env.get(name) or env.get(name.lower()))}


def listens(endpoint: DockerEndpoint) -> bool:
    """Whether something accepts connections at the endpoint; a daemon over the network is asked later, by its API."""
    parts = urlsplit(endpoint.host)
    if parts.scheme != "unix":
        return True
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(2)
        try:
            probe.connect(parts.path)
        except OSError:
            return False
    return True
