"""The addons this tool can make itself where no container registry is reachable, as data.

Where one is, `minikube addons enable` does it under the same name, and then waits here for the same things. What
Minikube has no addon for is applied by our manifests there too, with upstream's image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.core.ports import ObjectRef
from deployer.toolchain.pins import Build

KUBE_ROUTER = "v2.10.0"
METALLB = "v0.15.2"
METRICS_SERVER = "v0.9.0"
TRAEFIK = "v3.6.12"

STAGE = "addons"


@dataclass(frozen=True, slots=True)
class AddonImage:
    """One program of a build in an image of its own; manifests name it as `${IMAGE_<PROGRAM>}`.

    `network_tools`: it calls iptables and ipset, so it stands on what kube-proxy stands on, else on nothing.
    """

    program: str
    version: str
    build: Build
    network_tools: bool = False


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for an addon's server, in a Secret; manifests name it as `${CERTIFICATE}`."""

    namespace: str
    secret: str
    host: str


@dataclass(frozen=True, slots=True)
class Addon:
    """One addon: our manifests (folders under `manifests/`, a file is applied when the one before is ready).

    `minikube_manifests` complete what Minikube's own addon leaves to be configured, and `minikube_objects` are those
    of its objects that must be ready. `upstream` is the image of an addon that Minikube does not have, of one program:
    our manifests name it where it can be pulled.
    """

    name: str
    about: str
    version: str
    images: tuple[AddonImage, ...]
    certificate: Certificate | None = None
    minikube_manifests: str = ""
    minikube_objects: tuple[ObjectRef, ...] = ()
    upstream: str = ""


_KUBE_ROUTER = Build(
    "kube-router",
    ("github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",),
    ldflags=f"-X github.com/cloudnativelabs/kube-router/v2/pkg/version.Version={KUBE_ROUTER}",
)
_METALLB = Build("metallb", ("go.universe.tf/metallb/controller", "go.universe.tf/metallb/speaker"))
_METRICS_SERVER = Build(
    "metrics-server",
    ("sigs.k8s.io/metrics-server/cmd/metrics-server",),
    ldflags=f"-X k8s.io/component-base/version.gitVersion={METRICS_SERVER}",
)
_TRAEFIK = Build(
    "traefik",
    ("github.com/traefik/traefik/v3/cmd/traefik",),
    ldflags=f"-X github.com/traefik/traefik/v3/pkg/version.Version={TRAEFIK.removeprefix('v')}",
)

_ALL = (
    Addon(
        "metallb",
        "addresses for Services of type LoadBalancer",
        METALLB,
        (AddonImage("controller", METALLB, _METALLB), AddonImage("speaker", METALLB, _METALLB)),
        minikube_manifests="metallb-minikube",
        minikube_objects=(
            ObjectRef("Deployment", "metallb-system", "controller"),
            ObjectRef("DaemonSet", "metallb-system", "speaker"),
        ),
    ),
    Addon(
        "metrics-server",
        "CPU and memory of pods, by which an autoscaler scales",
        METRICS_SERVER,
        (AddonImage("metrics-server", METRICS_SERVER, _METRICS_SERVER),),
        certificate=Certificate("kube-system", "metrics-server-tls", "metrics-server.kube-system.svc"),
        minikube_objects=(
            ObjectRef("Deployment", "kube-system", "metrics-server"),
            ObjectRef("APIService", "", "v1beta1.metrics.k8s.io"),
        ),
    ),
    Addon(
        "ingress",
        "an Ingress controller at the node's ports 80 and 443, for IngressClass nginx",
        TRAEFIK,
        (AddonImage("traefik", TRAEFIK, _TRAEFIK),),
        minikube_objects=(ObjectRef("Deployment", "ingress-nginx", "ingress-nginx-controller"),),
    ),
    Addon(
        "network-policies",
        "kube-router as a firewall only: enforces NetworkPolicies on top of the node's own network",
        KUBE_ROUTER,
        (AddonImage("kube-router", KUBE_ROUTER, _KUBE_ROUTER, network_tools=True),),
        upstream=f"docker.io/cloudnativelabs/kube-router:{KUBE_ROUTER}",
    ),
)

ADDONS: Mapping[str, Addon] = {addon.name: addon for addon in _ALL}
