"""Environment variables as lines that a shell evaluates, and as they were before a shell evaluated them.

A shell that took them runs this tool too, and Minikube: both must find the host's Docker and the user's kubeconfig
again. Minikube undoes its own `docker-env` by the same rule (pkg/drivers/kic/oci PointToHostDockerDaemon).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deployer.core.ports import DockerEndpoint

Shell = Literal["bash", "zsh", "fish", "powershell"]
SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish", "powershell")

# What a node's and a Service's address may be: none of them is behind a proxy.
_LOCAL = ("127.0.0.1", "localhost", "192.168.0.0/16", "10.96.0.0/12", ".svc", ".cluster.local")
_DOCKER = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_OTHERS = ("KUBECONFIG", "MINIKUBE_PROFILE", "HELM_KUBECONTEXT", "NO_PROXY", "no_proxy")
_ACTIVE_DOCKER = "MINIKUBE_ACTIVE_DOCKERD"
_BIN = "TODO_DEPLOY_SHELL_BIN"
_BEFORE = {
    **{name: f"MINIKUBE_EXISTING_{name}" for name in _DOCKER},
    **{name: f"TODO_DEPLOY_SHELL_BEFORE_{name}" for name in _OTHERS},
}
# PowerShell takes typographic single quotes for straight ones (about_Quoting_Rules).
_POWERSHELL_QUOTES = "'\u2018\u2019\u201a\u201b"

Variables = dict[str, str | None]
"""Variables by name; None removes one."""


@dataclass(frozen=True, slots=True)
class ShellTarget:
    """The cluster and the folder of programs that a shell is to use; `profile` is Minikube's, if it is a profile."""

    bin: Path
    kubeconfig: Path
    context: str
    profile: str | None = None
    docker: DockerEndpoint | None = None
    node_ip: str | None = None


def cluster_variables(env: Mapping[str, str], target: ShellTarget) -> Variables:
    """What makes plain kubectl, helm, minikube and docker the tool's own and talk to this cluster."""
    before = unexported(env)
    exceptions = no_proxy(before, target.node_ip)
    found: Variables = {
        "PATH": _joined(str(target.bin), before.get("PATH", os.defpath)),
        _BIN: str(target.bin),
        "KUBECONFIG": str(target.kubeconfig),
        "HELM_KUBECONTEXT": target.context,
        "NO_PROXY": exceptions,
        "no_proxy": exceptions,
    }
    if target.profile is not None:
        found["MINIKUBE_PROFILE"] = target.profile
        if before.get("MINIKUBE_HOME"):
            found["MINIKUBE_HOME"] = before["MINIKUBE_HOME"]
    if target.docker is not None:
        certificates = target.docker.cert_path
        found["DOCKER_HOST"] = target.docker.host
        found["DOCKER_TLS_VERIFY"] = "1" if certificates is not None else None
        found["DOCKER_CERT_PATH"] = str(certificates) if certificates is not None else None
        found[_ACTIVE_DOCKER] = target.profile or target.context
    for name, kept in _BEFORE.items():
        if name in found:
            found[kept] = before.get(name)
    wanted = {**cleared_variables(env), **found}
    return {name: value for name, value in wanted.items() if value is not None or name in env}


def cleared_variables(env: Mapping[str, str]) -> Variables:
    """What puts a shell that took the cluster's variables back to how it was."""
    before = unexported(env)
    changed = {name for name in (*env, *before) if env.get(name) != before.get(name)}
    return {name: before.get(name) for name in sorted(changed)}


def unexported(env: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before the cluster's variables, or those of `minikube docker-env`, came into it."""
    before = dict(env)
    taken = [name for name in _DOCKER if _ACTIVE_DOCKER in env] + [name for name in _OTHERS if _BIN in env]
    for name in taken:
        kept = before.pop(_BEFORE[name], "")
        before.pop(name, None)
        if kept:
            before[name] = kept
    bin = before.pop(_BIN, None)
    before.pop(_ACTIVE_DOCKER, None)
    if bin is not None and "PATH" in before:
        before["PATH"] = os.pathsep.join(part for part in before["PATH"].split(os.pathsep) if part != bin)
    return before


def no_proxy(env: Mapping[str, str], node_ip: str | None) -> str:
    """The machine's exceptions from its proxy, with the cluster's addresses among them."""
    given = (env.get("NO_PROXY") or env.get("no_proxy") or "").split(",")
    return ",".join(dict.fromkeys(part.strip() for part in [*given, node_ip or "", *_LOCAL] if part.strip()))


def lines(variables: Mapping[str, str | None], shell: Shell) -> list[str]:
    """One statement a variable, every value quoted so that the shell takes it as it is."""
    return [_statement(name, value, shell) for name, value in variables.items()]


def usage(shell: Shell, words: str = "todo-deploy env") -> str:
    """How the shell takes the lines."""
    return {
        "fish": f"{words} --shell fish | source",
        "powershell": f"& {words} --shell powershell | Out-String | Invoke-Expression",
    }.get(shell, f'eval "$({words})"')


def shell_of(env: Mapping[str, str], name: str = os.name) -> Shell:
    """The shell that the user most likely sits at; bash's lines are what every POSIX shell reads."""
    if name == "nt":
        return "powershell"
    word = Path(env.get("SHELL", "")).stem
    return {"zsh": "zsh", "fish": "fish", "pwsh": "powershell"}.get(word, "bash")  # type: ignore[return-value]


def _statement(name: str, value: str | None, shell: Shell) -> str:
    if shell == "fish":
        if value is None:
            return f"set -e {name};"
        parts = value.split(os.pathsep) if name == "PATH" else [value]
        return f"set -gx {name} {' '.join(_fish(part) for part in parts)};"
    if shell == "powershell":
        if value is None:
            return f"Remove-Item Env:{name} -ErrorAction SilentlyContinue"
        doubled = "".join(char * 2 if char in _POWERSHELL_QUOTES else char for char in value)
        return f"$env:{name} = '{doubled}'"
    return f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _joined(first: str, rest: str) -> str:
    return os.pathsep.join([first, *(part for part in rest.split(os.pathsep) if part != first)])
