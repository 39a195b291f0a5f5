"""What a registry says, in the words that the Docker daemon passes on: refusals with what mends them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.image_ref import DEFAULT_REGISTRY, parse_ref

# moby daemon/pkg/registry, distribution's error codes, and Go's net and crypto packages.
_REFUSALS: Sequence[tuple[str, Problem]] = (
    (
        r"server gave HTTP response to HTTPS client",
        Problem(
            "REGISTRY_HTTP",
            "the registry {host} speaks plain http, and Docker wants https of it",
            hints=(
                'add {host} to "insecure-registries" in Docker\'s daemon.json, then: systemctl reload docker',
                "or give the registry a certificate",
            ),
        ),
    ),
    (
        r"x509|certificate|tls: ",
        Problem(
            "REGISTRY_CERTIFICATE",
            "Docker does not trust the certificate of the registry {host}",
            hints=(
                "sudo install -D CA.pem /etc/docker/certs.d/{host}/ca.crt, with your company's CA in CA.pem",
                "there where Docker runs: it is the daemon that pushes, and `build.ca` is for what builds fetch",
                "the nodes of the cluster must trust it, too",
            ),
        ),
    ),
    (
        r"unauthorized|no basic auth credentials|authentication required|incorrect username or password|401 ",
        Problem(
            "REGISTRY_LOGIN",
            "the registry {host} rejects the name or the password",
            hints=("docker login {host}",),
        ),
    ),
    (
        r"denied|forbidden|insufficient_scope|403 ",
        Problem(
            "REGISTRY_DENIED",
            "the registry {host} does not let you write `{name}`",
            hints=("ask for the right to push, or name another prefix in `registry.address`", "docker login {host}"),
        ),
    ),
    (
        r"no space left|quota|too large|413 |507 ",
        Problem(
            "REGISTRY_FULL",
            "the registry {host} has no room for the image",
            hints=("make room there, or use another registry",),
        ),
    ),
    (
        r"connection re(?:fused|set)|no such host|i/o timeout|no route|unreachable|eof|broken pipe|timeout|50[0234] ",
        Problem(
            "REGISTRY_UNREACHABLE",
            "the registry {host} does not answer",
            hints=("curl -v https://{host}/v2/", "todo-deploy up, which goes on with what is not there yet"),
        ),
    ),
)
_OTHER = Problem("REGISTRY_PUSH", "image `{name}` could not be pushed", hints=("docker push {name}",))
_PASSING = {"REGISTRY_UNREACHABLE"}


def host_of(ref: str) -> str:
    """The registry of the reference."""
    return parse_ref(ref).registry or DEFAULT_REGISTRY


def refusal(ref: str, said: str) -> DeployError:
    """What the registry, or the daemon that talked to it, said, as a problem."""
    host, name = host_of(ref), parse_ref(ref).name
    known = {"host": host, "name": name}
    row = next((row for pattern, row in _REFUSALS if re.search(pattern, said, re.IGNORECASE)), _OTHER)
    hints = tuple(one.format_map(known) for one in row.hints)
    filled = replace(row, title=row.title.format_map(known), detail=said.strip()[:600], hints=hints)
    return DeployError(filled, ExitCode.BUILD)


def is_passing(error: DeployError) -> bool:
    """Whether the same request may succeed in a moment."""
    return error.problems[0].code in _PASSING
