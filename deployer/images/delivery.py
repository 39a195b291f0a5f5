"""How images reach the nodes of a cluster: built in the node's own Docker daemon, or pushed to a registry.

`decide` chooses the way from the spec and what is seen; a class for each way is the port that the images stage uses.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

from deployer.config.spec import Spec
from deployer.core.errors import Problem
from deployer.core.ports import ClusterFacts, ImageFacts, ImagePort, Object
from deployer.core.reading import Malformed, shaped
from deployer.core.yaml import parse_manifest

HOSTING = ("kube-public", "local-registry-hosting")
"""Namespace and name of the ConfigMap in which a cluster names its registry (KEP-1755)."""


@dataclass(frozen=True, slots=True)
class Hosting:
    """A cluster's registry: as nodes pull from it, and as this machine pushes to it."""

    pull: str
    push: str


@dataclass(frozen=True, slots=True)
class Way:
    """How images reach the cluster and why so; `none` where none can, which only a spec with images minds."""

    kind: Literal["daemon", "registry", "load", "none"]
    why: str
    pull: str = ""
    """The registry and prefix of image references; empty where they have none."""
    push: str = ""

    @property
    def text(self) -> str:
        """The way in words, with its reason."""
        words = {
            "daemon": "built in the node's own Docker daemon",
            "registry": f"pushed to {self.pull or 'the registries that their names begin with'}",
            "load": "built here and loaded into every node",
            "none": "not brought to the cluster by any way",
        }
        return f"{words[self.kind]} ({self.why})"


def hosting_of(config_map: Object | None) -> Hosting | None:
    """The registry that the ConfigMap names; None where it names none that can be used from this machine.

    https://github.com/kubernetes/enhancements/tree/master/keps/sig-cluster-lifecycle/generic/1755-communicating-a-local-registry
    """
    text = ((config_map or {}).get("data") or {}).get("localRegistryHosting.v1")
    try:
        (named,) = parse_manifest(str(text)) if text else ({},)
        hosts = shaped(dict[str, Any], named)
    except (Malformed, ValueError):
        return None
    host = hosts.get("host")
    if not isinstance(host, str) or not host:
        return None
    inside = hosts.get("hostFromContainerRuntime")
    return Hosting(inside if isinstance(inside, str) and inside else host, host)


def decide(spec: Spec, facts: ClusterFacts, hosting: Hosting | None) -> Way:
    """The way that the spec names, or the one that suits the cluster; `hosting` is what the cluster names itself."""
    wanted, named = spec.delivery, spec.registry
    if named.address is not None and wanted in ("auto", "registry"):
        return Way("registry", "the spec names the registry", named.address, named.push or named.address)
    if wanted == "registry":
        if hosting is not None:
            return Way("registry", f"{'/'.join(HOSTING)} names it", hosting.pull, named.push or hosting.push)
        if all("." in one.repository.split("/")[0] or ":" in one.repository.split("/")[0]
               for one in spec.images.values()):  # fmt: skip
            return Way("registry", "the spec says so")
        return Way("none", "delivery is `registry`, and neither the spec nor the cluster names one")
    if wanted == "daemon" or (wanted == "auto" and facts.docker is not None):
        if facts.docker is None:
            return Way("none", "delivery is `daemon`, and the node's Docker daemon cannot be reached from here")
        return Way("daemon", "its Docker daemon can be reached" if wanted == "auto" else "the spec says so")
    if wanted == "auto" and hosting is not None:
        return Way("registry", f"{'/'.join(HOSTING)} names it", hosting.pull, named.push or hosting.push)
    return Way("none", "neither a Docker daemon of its node nor a registry is known")


def no_way(way: Way) -> Problem:
    """Why images cannot be brought to the cluster."""
    return Problem(
        "NO_DELIVERY",
        "the images of the spec cannot be brought to the cluster",
        detail=way.why,
        hints=(
            "todo-deploy up --registry HOST[:PORT][/PREFIX], or `registry.address` in the spec",
            "or push the images yourself and leave `images` out of the spec",
        ),
    )


class InDaemon:
    """Images are built where the node finds them."""

    def __init__(self, builder: ImagePort) -> None:
        self.builder = builder

    def found(self, ref: str) -> ImageFacts | None:
        """The image, where the daemon has it."""
        return self.builder.image(ref)

    def send(self, ref: str) -> Generator[tuple[int, int], None, None]:
        """Nothing is to be done."""
        del ref
        yield from ()


class ThroughRegistry:
    """Images are built in a daemon of this machine, pushed to the registry, and pulled by the nodes."""

    def __init__(self, builder: ImagePort, way: Way) -> None:
        self.builder = builder
        self._way = way

    def found(self, ref: str) -> ImageFacts | None:
        """The image, where the registry has it."""
        return self.builder.published(self._pushed(ref))

    def send(self, ref: str) -> Generator[tuple[int, int], None, None]:
        """Yields bytes sent and bytes to send; the registry then has the image. Layers that it has do not travel."""
        yield from self.builder.push(ref, self._pushed(ref))

    def _pushed(self, ref: str) -> str:
        """The reference as the builder reaches the registry."""
        prefix = f"{self._way.pull}/"
        return f"{self._way.push}/{ref.removeprefix(prefix)}" if self._way.push and ref.startswith(prefix) else ref
