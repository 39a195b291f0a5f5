"""How images reach the nodes of a cluster: built in the node's own Docker daemon, or pushed to a registry.

`decide` chooses the way from the spec and what is seen; a class for each way is the port that the images stage uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from deployer.config.spec import Spec
from deployer.core.errors import DeployError, Problem, machine_error
from deployer.core.image_ref import parse_ref
from deployer.core.ports import LABEL_PREFIX, ClusterFacts, DockerEndpoint, ImageFacts, ImagePort, Object
from deployer.core.process import CommandFailed, pipe, run
from deployer.core.reading import Malformed, parse_json, shaped
from deployer.core.yaml import parse_manifest

T = TypeVar("T")
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
    if wanted == "load" and not facts.nodes:
        return Way("none", "delivery is `load`, and the cluster's nodes are no containers of this machine's Docker")
    if wanted == "load":
        return Way("load", "the spec says so")
    if wanted == "daemon" or (wanted == "auto" and facts.docker is not None):
        if facts.docker is None:
            return Way("none", "delivery is `daemon`, and the node's Docker daemon cannot be reached from here")
        why = "its Docker daemon can be reached" if wanted == "auto" else "the spec says so"
        more = len(facts.nodes) > 1
        return Way("daemon", f"{why}; then loaded into the other {len(facts.nodes) - 1}" if more else why)
    if wanted == "auto" and hosting is not None:
        return Way("registry", f"{'/'.join(HOSTING)} names it", hosting.pull, named.push or hosting.push)
    if wanted == "auto" and facts.nodes:
        return Way("load", "its nodes are containers of this machine's Docker")
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


class IntoNodes:
    """Images are built where a node finds them, or in this machine's Docker, and loaded into the nodes that lack them.

    Without `nodes` there is nothing to load: the only node's own daemon builds. A node that stops in a run is left out
    (`runs`, by its name): no pod starts there, and the `up` that starts it again gives it what it lacks.
    """

    doing = "loading into the nodes"

    def __init__(
        self, builder: ImagePort, nodes: Sequence[Node] = (), runs: Callable[[str], bool] = lambda name: True
    ) -> None:
        self.builder = builder
        self._nodes = nodes
        self._runs = runs

    def found(self, ref: str) -> ImageFacts | None:
        """The image, where it is in every node."""
        facts = self.builder.image(ref)
        return facts if facts is not None and all(self._has(node, facts) for node in self._nodes) else None

    def send(self, ref: str) -> Generator[tuple[int, int], None, None]:
        """Yields bytes sent and bytes to send; every node then has the very image. One that has it gets nothing."""
        facts = self.builder.image(ref)
        if facts is None:
            return
        ids = {node: self._unless_stopped(node, node.image_id, ref, facts.id) for node in self._nodes}
        lacking = [node for node, there in ids.items() if there != facts.id]
        for number, node in enumerate(lacking):
            yield number * facts.size, len(lacking) * facts.size
            self._unless_stopped(node, node.load, ref, None)

    def _has(self, node: Node, facts: ImageFacts) -> bool:
        there = self._unless_stopped(node, node.image_id, facts.ref, facts.id)
        return there == facts.id if node.exact else bool(there)

    def _unless_stopped(self, node: Node, act: Callable[[str], T], ref: str, otherwise: T) -> T:
        """What the act returns; a failure is one of a node that runs."""
        try:
            return act(ref)
        except DeployError:
            if self._runs(node.name):
                raise
            return otherwise


class DockerNode:
    """A node whose pods run in a Docker daemon, to which the daemon that builds gives its images."""

    exact = True

    def __init__(
        self, name: str, builder: ImagePort, endpoint: DockerEndpoint, connect: Callable[[DockerEndpoint], ImagePort]
    ) -> None:
        self.name = name
        self._builder, self._endpoint, self._connect = builder, endpoint, connect

    def image_id(self, ref: str) -> str:
        """The id of the image that it has under this name; empty where it has none."""
        with self._named():
            facts = self._connect(self._endpoint).image(ref)
        return facts.id if facts is not None else ""

    def load(self, ref: str) -> None:
        """It has the builder's image."""
        with self._named():
            self._builder.copy_to(self._endpoint, [ref])

    @contextmanager
    def _named(self) -> Iterator[None]:
        """While inside, a failure names the node: one that stops in a run is started by the next."""
        try:
            yield
        except DeployError as error:
            found = [replace(one, title=f"node `{self.name}`: {one.title}") for one in error.problems]
            raise DeployError(found, error.exit_code) from None


_LOADS = {
    "docker": ("docker", "load"),
    "containerd": ("ctr", "--namespace", "k8s.io", "images", "import", "-"),
    "cri-o": ("podman", "load"),
    "crio": ("podman", "load"),
}
"""What takes an archive of images from its standard input, by the runtime of the node."""


class ContainerNode:
    """A node that is a container of this machine's Docker, as those of kind, k3d and Minikube, without a daemon of its
    own that could be reached.

    containerd and Docker may count an image's id in different ways: one of its name, which has a digest in it, counts.
    """

    exact = False

    def __init__(self, name: str, runtime: str, docker: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._load = _LOADS.get(runtime, _LOADS["containerd"])
        self._docker, self._env = docker, env

    def image_id(self, ref: str) -> str:
        """The id of the image that it has under this name; empty where it has none."""
        try:
            said = run([self._docker, "exec", self.name, "crictl", "images", "--output", "json"], env=self._env)
            found = shaped(dict[str, Any], parse_json(said)).get("images") or ()
        except (CommandFailed, Malformed) as error:
            raise self._failed(ref, error) from None
        wanted = parse_ref(ref).familiar
        ids = (one.get("id") for one in found for tag in one.get("repoTags") or () if parse_ref(tag).familiar == wanted)
        return str(next(ids, "") or "")

    def load(self, ref: str) -> None:
        """It has the image, as this machine's Docker has it."""
        try:
            pipe([self._docker, "save", ref], [self._docker, "exec", "-i", self.name, *self._load], env=self._env)
        except CommandFailed as error:
            raise self._failed(ref, error) from None

    def _failed(self, ref: str, error: Exception) -> DeployError:
        detail = error.output if isinstance(error, CommandFailed) else str(error)
        hints = (f"docker exec {self.name} crictl images", "todo-deploy doctor")
        title = f"image `{ref}` cannot be loaded into node `{self.name}`"
        return machine_error("NODE_LOAD", title, detail=detail, hints=hints)


Node = DockerNode | ContainerNode
"""A node that images are loaded into; an `exact` one gives an image the id that it has where it was built."""


class ThroughRegistry:
    """Images are built in a daemon of this machine, pushed to the registry, and pulled by the nodes."""

    doing = "pushing"

    def __init__(self, builder: ImagePort, way: Way) -> None:
        self.builder = builder
        self._way = way

    def found(self, ref: str) -> ImageFacts | None:
        """The image, where the registry has it."""
        return self.builder.published(self._pushed(ref))

    def send(self, ref: str) -> Generator[tuple[int, int], None, None]:
        """Yields bytes sent and bytes to send; the registry then has the image. Layers that it has do not travel."""
        yield from self.builder.push(ref, self._pushed(ref))

    def content(self, ref: str) -> str | None:
        """The digest of what the registry's image of that tag was built from; None where it has none of that tag.

        Images of which this machine has no copy are pulled for it.
        """
        if self.found(ref) is None:
            return None
        facts = self.builder.image(ref) or self.builder.pull(self._pushed(ref))
        return facts.labels.get(f"{LABEL_PREFIX}/digest", facts.id) if facts is not None else None

    def _pushed(self, ref: str) -> str:
        """The reference as the builder reaches the registry."""
        prefix = f"{self._way.pull}/"
        return f"{self._way.push}/{ref.removeprefix(prefix)}" if self._way.push and ref.startswith(prefix) else ref
