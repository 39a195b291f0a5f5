"""The images of addons, built from Go modules and handed to the cluster's daemon: only where none can be pulled."""

from __future__ import annotations

import base64
import ipaddress
import shutil
import string
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.cluster.addons.table import STAGE, Addon, AddonImage, Certificate
from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState
from deployer.core.ports import LABEL_PREFIX, DockerEndpoint, ImagePort, KubePort, Object
from deployer.core.process import CommandFailed, run
from deployer.core.steps import Steps
from deployer.core.yaml import parse_manifest
from deployer.status.objects import labels_of
from deployer.toolchain.files import RECIPES, locked
from deployer.toolchain.source.debian import ensure_packages
from deployer.toolchain.source.go import built, ensure_built, ensure_go
from deployer.toolchain.source.images import OURS, BuildHost, Recipe, ensure_image
from deployer.toolchain.source.node import kube_proxy_os

# Longer than a local cluster lives.
_DAYS = 3650


def ensure_certificate(addon: str, wanted: Certificate, kube: KubePort, env: Mapping[str, str]) -> Steps[str]:
    """The Secret holds key and certificate; returns the certificate as manifests carry it (base64 of PEM)."""
    kept = kube.get("Secret", wanted.namespace, wanted.secret)
    if kept is None:
        if shutil.which("openssl", path=env.get("PATH")) is None:
            yield from ensure_packages(("openssl",), f"the certificate of {addon} is made with it", env)
        certificate, key = _made(wanted.host, env)
        kept = kube.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": wanted.secret,
                    "namespace": wanted.namespace,
                    "labels": {ADDON_LABEL: addon},
                },
                "type": "kubernetes.io/tls",
                "data": {"tls.crt": _encoded(certificate), "tls.key": _encoded(key)},
            }
        )
    return str(kept["data"]["tls.crt"])


def _made(host: str, env: Mapping[str, str]) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as name:  # mode 0700
        certificate, key = Path(name) / "tls.crt", Path(name) / "tls.key"
        words: list[str | Path] = [
            "openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-days", str(_DAYS), "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
            "-keyout", key, "-out", certificate,
        ]  # fmt: skip
        try:
            run(words, env=env)
        except CommandFailed as error:
            raise machine_error(
                "ADDON_CERTIFICATE",
                f"openssl could not make a certificate for {host}",
                detail=error.output,
                hints=("openssl version", "todo-deploy up"),
            ) from None
        return certificate.read_bytes(), key.read_bytes()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


FOLDER = Path(__file__).parent / "manifests"
ADDON_LABEL = f"{LABEL_PREFIX}/addon"

# How many addresses at the end of the node's network an addon may give away, and how many at the very end it leaves.
_ADDRESSES, _SPARED = 50, 5
_LEAST_NETWORK = 64


def templates(folder: str) -> tuple[str, ...]:
    """The texts of an addon's manifests, in the order in which they are applied; none for no folder."""
    return (
        tuple(path.read_text(encoding="utf-8") for path in sorted((FOLDER / folder).glob("*.yaml"))) if folder else ()
    )


def waves(addon: str, texts: tuple[str, ...], values: Mapping[str, str]) -> tuple[tuple[Object, ...], ...]:
    """The objects of each text with the values inserted, labelled as the addon's."""
    return tuple(
        tuple(_labelled(addon, body) for body in parse_manifest(string.Template(text).substitute(values)))
        for text in texts
    )


def address_range(network: str | None, node_ip: str | None) -> str:
    """Addresses of the node's network that Docker gives to nobody; machine error where there is no room for them."""
    known = network or (f"{node_ip}/24" if node_ip else None)
    if known is None:
        raise machine_error(
            "ADDON_NETWORK",
            "metallb needs free addresses beside the node's, and the node's is not known",
            hints=("leave metallb out of cluster.addons", "todo-deploy doctor"),
        )
    block = ipaddress.ip_network(known, strict=False)
    if block.num_addresses < _LEAST_NETWORK:
        raise machine_error(
            "ADDON_NETWORK",
            f"the node's network {block} has too few addresses for metallb",
            hints=("leave metallb out of cluster.addons, or use a larger network",),
        )
    last = block.broadcast_address - _SPARED
    return f"{last - _ADDRESSES}-{last}"


def _labelled(addon: str, body: Object) -> Object:
    """The object with the label, and what its controllers make of it too."""
    metadata = body["metadata"]
    made = {**body, "metadata": {**metadata, "labels": {**labels_of(body), ADDON_LABEL: addon}}}
    template = (body.get("spec") or {}).get("template")
    return {**made, "spec": {**body["spec"], "template": _labelled(addon, template)}} if template else made


_DOCKERFILE = RECIPES / "images" / "binary.Dockerfile"
_WITH_TOOLS = Path(__file__).parent / "network-tools.Dockerfile"
# metrics-server's own go.mod asks for it.
_GO_AT_LEAST = (1, 26, 4)


def recipe(image: AddonImage, cache_dir: Path, env: Mapping[str, str]) -> Recipe:
    """The image's recipe, under a name that ends with its digest but for what is particular to this machine."""
    made = Recipe(
        "",
        _DOCKERFILE,
        programs={image.program: built(cache_dir, image.build) / image.program},
        arguments={"PROGRAM": image.program},
    )
    parent = ""
    if image.network_tools:
        system = kube_proxy_os(env)
        made = replace(made, dockerfile=_WITH_TOOLS, arguments={**made.arguments, "OS": system.ref})
        parent = system.digest()
    ref = f"{OURS}/addon-{image.build.name}/{image.program}:{image.version}-{made.digest()[:8]}"
    return replace(made, ref=ref, parent=parent)


def image_values(addon: Addon, cache_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What the addon's manifests call its images, which are never pulled."""
    return {_named(image): recipe(image, cache_dir, env).ref for image in addon.images}


def upstream_values(addon: Addon) -> dict[str, str]:
    """The same for upstream's image, which the cluster pulls."""
    return {_named(image): addon.upstream for image in addon.images}


def _named(image: AddonImage) -> str:
    return f"IMAGE_{image.program.upper().replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class Daemons:
    """Where images are built, and where they are needed: the endpoints and daemons of all nodes."""

    host: ImagePort
    nodes: Mapping[DockerEndpoint, ImagePort]


def ensure_images(
    addons: Sequence[Addon], docker: Path, daemons: Daemons, cache_dir: Path, env: Mapping[str, str]
) -> Steps[None]:
    """The addons' images are in every node's daemon; what was once built is kept in the cache and in the host's."""
    recipes = [(image, recipe(image, cache_dir, env)) for addon in addons for image in addon.images]
    lacks = {
        endpoint: refs
        for endpoint, node in daemons.nodes.items()
        if (refs := [one.ref for _, one in recipes if node.image(one.ref) is None])
    }
    lacking = [(image, one) for image, one in recipes if any(one.ref in refs for refs in lacks.values())]
    if not lacking:
        return

    host = BuildHost(docker, cache_dir, env)

    def made() -> Steps[None]:
        builds = list({image.build.name: image.build for image, _ in lacking}.values())
        if any(not built(cache_dir, build).is_dir() for build in builds):
            go = yield from ensure_go(cache_dir, env, _GO_AT_LEAST)
            yield from ensure_built(cache_dir, go, builds, env)
        if any(image.network_tools for image, _ in lacking):
            yield from ensure_image(host, kube_proxy_os(env))
        for _, one in lacking:
            yield from ensure_image(host, one)

    if any(daemons.host.image(one.ref) is None for _, one in lacking):
        yield from locked(cache_dir, made())
    yield Item(STAGE, "images", ItemState.RUNNING, f"copying {len(lacking)} into the cluster's daemon")
    for endpoint, refs in lacks.items():
        daemons.host.copy_to(endpoint, refs)
    yield Item(STAGE, "images", ItemState.DONE, f"{len(lacking)} in the cluster's daemon")
