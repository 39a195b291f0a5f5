"""The programs and images a run needs: found on PATH, downloaded, or built from source.

A run asks, in this order:

- `locate_toolchain(setting, cache_dir)` → `Toolchain | None`: an earlier run's answer, from a stamp file, in
  milliseconds. Enough while the cluster runs.
- `ensure_docker(cache_dir, state_dir, env)` → steps to the path of the `docker` client: Docker answers.
- `ensure_toolchain(setting, cache_dir, env, docker)` → steps to a `Toolchain`: before a cluster is created,
  started or repaired. Also makes sure of the images in the host's Docker.
- `seed_minikube(toolchain, env)`: before every `minikube start`.
- `replacement_of(upstream)` → the name of the image that replaces a base image, or None; pure.
- `silent_registries(hosts)` → those of the registries that do not answer from this machine.
- `ensure_replacements(upstreams, toolchain, cache_dir, env)` → steps to {upstream: replacement image}, all in the
  host's Docker; {} where images can be pulled. Copying them into the node's Docker is the caller's work.

Everything lives under `cache_dir/toolchain`, appears by rename, and is made under one lock.
"""

from deployer.toolchain.dockerhost import docker_mending, ensure_docker
from deployer.toolchain.locate import locate_toolchain, silent_registries
from deployer.toolchain.model import STAGE, Toolchain, minikube_home
from deployer.toolchain.pins import NODE_IMAGES
from deployer.toolchain.resolve import ensure_toolchain
from deployer.toolchain.source.base_images import ensure_replacements, replacement_of
from deployer.toolchain.source.node import seed_minikube

__all__ = [
    "NODE_IMAGES",
    "STAGE",
    "Toolchain",
    "docker_mending",
    "ensure_docker",
    "ensure_replacements",
    "ensure_toolchain",
    "locate_toolchain",
    "minikube_home",
    "replacement_of",
    "seed_minikube",
    "silent_registries",
]
