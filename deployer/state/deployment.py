"""Where this machine keeps what concerns one deployment: an application on one cluster.

A cluster is identified by more than its name: a context that was given to another cluster is another deployment.
A Minikube profile has its name for itself on the Docker host, and must be known before it has a server.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from deployer.config.spec import Cluster
from deployer.core.errors import DeployError
from deployer.core.files import path_component
from deployer.core.reading import Malformed, read_json
from deployer.kube import kubeconfig

_SHOWN = 40


def deployment_folder(state_dir: Path, wanted: Cluster, application: str, config: Path) -> Path:
    """The deployment's folder, which two clones of it share; one that an older version named by `cluster.name` alone
    is moved there, if it was this cluster's.
    """
    every = state_dir / "deployments"
    folder = every / f"{cluster_key(wanted, config)}.{path_component(application, 'an application')}"
    old = every / f"{path_component(wanted.name, 'a cluster')}.{application}"
    if folder != old and not folder.exists() and _was_of(old, wanted, config):
        with suppress(OSError):  # somebody else has just moved it
            old.rename(folder)
    return folder


def cluster_key(wanted: Cluster, config: Path) -> str:
    """What names the cluster in the names of files: a profile's name, or a context with a digest of server and CA."""
    if wanted.provider == "minikube" or wanted.context is None:
        return path_component(wanted.name, "a cluster")
    words = "\n".join((wanted.context, *kubeconfig.identity_of(config, wanted.context)))
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted.context).strip("-")[:_SHOWN] or "context"
    return f"{name}-{hashlib.sha256(words.encode()).hexdigest()[:12]}"


def _was_of(old: Path, wanted: Cluster, config: Path) -> bool:
    """Whether the last shell of the old folder, or what it forwards, talked to this cluster."""
    context = wanted.context or ""
    with suppress(DeployError):
        before = kubeconfig.identity_of(old / "kubeconfig", context)
        if before[0] and before == kubeconfig.identity_of(config, context):
            return True
    with suppress(OSError, Malformed):
        forwarded = read_json(old / "forward.json", dict[str, Any])
        return (forwarded.get("provider"), forwarded.get("cluster")) == ("context", context)
    return False
