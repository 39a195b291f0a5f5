"""Docker's contexts: which daemon `docker` talks to where no DOCKER_HOST says it.

https://docs.docker.com/engine/manage-resources/contexts/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployer.core.errors import machine_error
from deployer.core.ports import DockerEndpoint
from deployer.core.reading import Malformed, read_json
from deployer.status.objects import dig

DEFAULT = "default"


def docker_folder(env: Mapping[str, str]) -> Path:
    """Where Docker's client keeps its configuration."""
    given = env.get("DOCKER_CONFIG")
    return Path(given) if given else Path(env.get("HOME") or Path.home()) / ".docker"


def context_name(env: Mapping[str, str]) -> str:
    """The context that `docker` uses: that of DOCKER_CONTEXT, or of `docker context use`; DOCKER_HOST goes before."""
    if env.get("DOCKER_HOST"):
        return DEFAULT
    try:
        configured = read_json(docker_folder(env) / "config.json", dict[str, Any]).get("currentContext")
    except (OSError, Malformed):
        configured = None
    return env.get("DOCKER_CONTEXT") or str(configured or DEFAULT)


def context_endpoint(env: Mapping[str, str]) -> DockerEndpoint | None:
    """The daemon of the context; None for the default one. Machine error where there is no such context."""
    name = context_name(env)
    if name == DEFAULT:
        return None
    contexts, key = docker_folder(env) / "contexts", hashlib.sha256(name.encode()).hexdigest()
    try:
        host = dig(read_json(contexts / "meta" / key / "meta.json", dict[str, Any]), "Endpoints", "docker", "Host")
    except (OSError, Malformed):
        host = None
    if not host:
        title = f"there is no Docker context `{name}`, or it names no Docker daemon"
        hints = ("docker context ls", "docker context use default")
        raise machine_error("DOCKER_UNREACHABLE", title, hints=hints)
    certificates = contexts / "tls" / key / "docker"
    return DockerEndpoint(str(host), certificates if (certificates / "cert.pem").is_file() else None)
