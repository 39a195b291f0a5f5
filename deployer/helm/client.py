"""Helm, through pyhelm3 with a `Command` of our own: exec instead of a shell, cancellation that reaches helm.

pyhelm3 as published runs helm below `/bin/sh`, where a cancellation ends the shell and leaves helm at work; it has no
`--labels` and no `--force-conflicts`. What it brings is its error classes and its argument handling.

Helm 3 and 4 are asked in the same words. What differs: how objects are applied (`server_side`, and which revisions it
holds for: deployer.helm.dry_run), `--force-conflicts`, and what is printed to standard error.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyhelm3
import pyhelm3.errors

from deployer.core.errors import DeployError, ExitCode, Problem, input_error, machine_error
from deployer.core.objects import identified
from deployer.core.ports import (
    INPUTS_LABEL,
    UNINSTALL_SECONDS,
    WITHOUT_CLUSTER,
    Object,
    Rendering,
    Revision,
    Upgraded,
    UpgradeRequest,
)
from deployer.core.reading import Malformed, decode, parse_json, shaped
from deployer.core.redact import foreign
from deployer.core.shell import no_proxy
from deployer.core.steps import on_stop
from deployer.core.text import cut_lines
from deployer.core.yaml import parse_manifest
from deployer.helm.storage import objects_of
from deployer.kube.outage import WhyStopped, ended_with_cluster, unknown
from deployer.state.lock import held

T = TypeVar("T")

_KEPT_HELM_VARIABLES = ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HELM_REGISTRY_CONFIG")
# Helm would drop the oldest, and that may be the only one that was verified: `stages.releases.trim` knows which.
_EVERY = "0"


class _Command(pyhelm3.Command):  # type: ignore[misc]  # the package has no type information
    """Runs helm as a list of words in a session of its own, and ends it gently when the run is given up."""

    why_stopped: WhyStopped

    async def run(self, command: list[Any], input: bytes | None = None) -> bytes:
        """Standard output of helm, which ended well; an error of pyhelm3's otherwise."""
        words = [str(self._executable), *map(str, command)]
        words += ["--kubeconfig", str(self._kubeconfig), "--kube-context", str(self._kubecontext)]
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.PIPE if input is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(os.environ),
            start_new_session=True,
            pass_fds=held(),
        )

        def end() -> None:
            # Helm records an upgrade as failed on SIGTERM; killed, it would stay pending for ever. A rollback
            # catches no signal: it is let finish, it waits for nothing but hooks.
            if command[0] != "rollback":
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGTERM)

        def kill() -> None:
            # Where nobody answers it, a helm that is ended gently waits to record that.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

        try:
            # Both end it from another thread; the second where this one is given up with the rest.
            with ended_with_cluster(self.why_stopped, kill), on_stop(end):
                stdout, stderr = await process.communicate(input)
                if process.returncode:
                    raise _classified(process.returncode, stdout, stderr)
        except asyncio.CancelledError:
            end()
            await process.communicate()
            raise
        return stdout


@dataclass(frozen=True, slots=True)
class Program:
    """The helm of the toolchain and its version, as `v4.3.2`; empty where nobody has asked it yet."""

    path: Path
    version: str


class Helm:
    """Helm 3 or 4 against one context of one kubeconfig."""

    def __init__(
        self,
        program: Program,
        kubeconfig: Path,
        context: str,
        kubernetes_version: str,
        why_stopped: WhyStopped = unknown,
    ) -> None:
        self._kubernetes_version = kubernetes_version
        self.server_side = not program.version.startswith("v3.")
        """Whether what it installs is applied on the server (server-side apply), as Helm does from version 4 on."""
        self._command = _Command(executable=str(program.path), kubeconfig=kubeconfig, kubecontext=context)
        self._command.why_stopped = why_stopped

    def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]:
        """The objects that the chart renders to, hooks included; nothing is changed in the cluster."""
        words = ["template", request.release, request.chart, "--namespace", request.namespace, "--values", "-"]
        # Without a cluster helm takes the Kubernetes version it was built against, and charts may refuse that.
        words += ["--kube-version", self._kubernetes_version] if self._kubernetes_version else []
        words += [word for api in against.apis for word in ("--api-versions", api)]
        flags = {"--is-upgrade": against.upgrade, "--include-crds": against.crds}
        words += [flag for flag, is_set in flags.items() if is_set]
        of = (request.release, request.namespace)
        more = ["--dry-run=server"] if against.asks else []
        try:
            raw = self._run(self._command.run([*words, *more], _values(request)), of, "render")
        except DeployError as error:
            # A real install applies the folder `crds` first, and a release before this one may define the kind. Whose
            # the objects are that exist already is judged after this, with the ways out.
            foreign_object = error.problems[0].code == "OBJECT_FOREIGN"
            if not against.asks or not (foreign_object or _NO_KIND in error.problems[0].detail):
                raise
            again = [*more, "--take-ownership"] if foreign_object else []
            raw = self._run(self._command.run([*words, *again], _values(request)), of, "render")
        try:
            return [identified(one) for one in parse_manifest(decode(raw))]
        except Malformed as error:
            title = f"the chart of release `{request.release}` does not render to valid YAML"
            hints = (f"helm template {request.release} {request.chart} --debug",)
            raise input_error("CHART_RENDER", title, detail=str(error), hints=hints) from None

    def upgrade(self, request: UpgradeRequest) -> Upgraded:
        """A new revision of the release is recorded and its objects are applied; nothing is waited for but hooks."""
        labels = ",".join(f"{key}={value}" for key, value in sorted(request.labels.items()))
        words = ["upgrade", request.release, request.chart, "--install", "--namespace", request.namespace]
        words += ["--history-max", _EVERY, "--description", request.description, "--labels", labels]
        words += ["--timeout", f"{int(request.timeout)}s", "--values", "-", "--output", "json"]
        if self.server_side and request.server_side is not None:
            words.append(f"--server-side={str(request.server_side).lower()}")
        words += ["--force-conflicts"] if request.force_conflicts else []
        words += ["--disable-openapi-validation"] if request.accepted else []
        raw = self._run(self._command.run(words, _values(request)), (request.release, request.namespace))
        return _upgraded(raw, request.namespace, request.labels.get(INPUTS_LABEL, ""))

    def rollback(
        self, release: str, namespace: str, revision: int, timeout: float, *, force_conflicts: bool = False
    ) -> None:
        """A new revision with the chart and values of an earlier one is applied; only hooks are waited for.

        Once begun it is not ended by a cancellation: helm catches no signal in a rollback and would stay pending.
        """
        words = ["rollback", release, str(revision), "--namespace", namespace, "--timeout", f"{int(timeout)}s"]
        words += ["--history-max", _EVERY, *(["--force-conflicts"] if force_conflicts else [])]
        self._run(self._command.run(words), (release, namespace))

    def uninstall(self, release: str, namespace: str, timeout: float = UNINSTALL_SECONDS) -> bool:
        """The release and its objects are gone (volumes of StatefulSets stay); whether there was one."""
        # The watcher of Helm 4 gives up while a Job still goes, where it sees another object gone first.
        wait = "--wait=legacy" if self.server_side else "--wait"
        words = ["uninstall", release, "--namespace", namespace, "--cascade", "foreground", wait]
        words += ["--timeout", f"{timeout:.0f}s"]
        try:
            self._run(self._command.run(words), (release, ""), "remove")
        except pyhelm3.errors.ReleaseNotFoundError:
            return False
        return True

    def _run(self, work: Coroutine[Any, Any, T], place: tuple[str, str], doing: str = "deploy") -> T:
        try:
            return asyncio.run(work)
        except pyhelm3.errors.ReleaseNotFoundError:
            raise
        except pyhelm3.errors.Error as error:
            message = foreign(error.stderr.decode("utf-8", "replace")).strip()
            raise _explained(message, *place, doing) from None
        except FileNotFoundError as error:
            raise machine_error("HELM_MISSING", f"no helm at {error.filename}", hints=("todo-deploy doctor",)) from None


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without what would change helm's target or its output."""
    kept = {key: value for key, value in environ.items() if not key.startswith("HELM_") or key in _KEPT_HELM_VARIABLES}
    # The cluster is on this machine: requests to it must not go through the machine's proxy.
    direct = no_proxy(kept, None)
    return {**kept, "NO_PROXY": direct, "no_proxy": direct}


def _values(request: UpgradeRequest) -> bytes:
    """Values as JSON for standard input: never in argv, where every process list would show them."""
    return json.dumps(request.values).encode()


@dataclass(frozen=True, slots=True)
class _Info:
    status: str
    last_deployed: str = ""


@dataclass(frozen=True, slots=True)
class _Release:
    """What `helm upgrade --output json` prints, as far as it is read."""

    name: str
    version: int
    info: _Info
    manifest: str = ""


def _upgraded(raw: bytes, namespace: str, inputs: str) -> Upgraded:
    try:
        release = shaped(_Release, parse_json(raw))
    except Malformed as error:
        raise machine_error(
            "HELM_OUTPUT",
            "helm's output is not the release that it should print",
            detail=str(error),
            hints=("helm version", "todo-deploy doctor"),
        ) from None
    info = release.info
    revision = Revision(release.name, namespace, release.version, info.status, inputs, info.last_deployed)
    return Upgraded(revision, tuple(objects_of(release.manifest, namespace)))


def _classified(returncode: int, stdout: bytes, stderr: bytes) -> pyhelm3.errors.Error:
    text = stderr.decode("utf-8", "replace").lower()
    if "release: not found" in text:
        return pyhelm3.errors.ReleaseNotFoundError(returncode, stdout, stderr)
    return pyhelm3.errors.Error(returncode, stdout, stderr)


# Most specific first. Helm's errors have no codes; what it prints is matched here and nowhere else.
_MEANINGS: tuple[tuple[re.Pattern[str], str, str, ExitCode], ...] = (
    (re.compile(r"another operation \(install/upgrade/rollback\) is in progress"), "RELEASE_PENDING",
     "another operation on release `{release}` is in progress", ExitCode.REFUSED),
    (re.compile(r"invalid ownership metadata|exists and cannot be imported"), "OBJECT_FOREIGN",
     "an object of release `{release}` exists already and belongs to somebody else", ExitCode.REFUSED),
    (re.compile(r"apply failed with \d+ conflict"), "FIELD_CONFLICT",
     "release `{release}` sets a field that somebody else has set", ExitCode.REFUSED),
    (re.compile(r"failed to create typed patch object"), "OBJECT_INVALID",
     "Kubernetes rejects an object of release `{release}`", ExitCode.INPUT),
    (re.compile(r"field is immutable|forbidden: only dynamically provisioned pvc"), "FIELD_IMMUTABLE",
     "release `{release}` changes a field that Kubernetes does not let change", ExitCode.REFUSED),
    (re.compile(r"provided port is already allocated"), "NODE_PORT_TAKEN",
     "a NodePort of release `{release}` is taken by another Service", ExitCode.INPUT),
    (re.compile(r"values don't meet the specifications of the schema(?s:.*)failing loading"), "CHART_RENDER",
     "the schema of the chart of release `{release}` refers to one that cannot be loaded", ExitCode.INPUT),
    # Of a webhook, and not of the API server, it may say that the connection was refused.
    (re.compile(r"failed calling webhook|admission webhook .{0,200} denied|denied request:|exceeded quota:"),
     "OBJECT_DENIED", "the cluster does not let an object of release `{release}` in", ExitCode.REFUSED),
    (re.compile(r"kubernetes cluster unreachable|connection (?:refused|reset)|connection lost|i/o timeout|"
                r"tls handshake timeout|unexpected eof|: eof\b|no route to host|etcdserver: |"
                r"apiserver is shutting down|the server is currently unable to handle the request"), "API_UNREACHABLE",
     "the API server does not answer", ExitCode.MACHINE),
    (re.compile(r"values don't meet the specifications of the schema"), "VALUES_INVALID",
     "the values of release `{release}` do not meet the chart's schema", ExitCode.INPUT),
    (re.compile(r"execution error|parse error|failed to render|yaml parse|template:|executing \"\S+\" at <"),
     "CHART_RENDER",
     "the chart of release `{release}` does not render", ExitCode.INPUT),
    (re.compile(r"timed out waiting|context deadline exceeded|backofflimitexceeded|hook.{0,200} failed|"
                r"failed (?:pre|post)-"), "HOOK_FAILED",
     "a hook of release `{release}` did not succeed", ExitCode.NOTHING_SERVES),
)  # fmt: skip


_WAYS = {
    "OBJECT_DENIED": ("kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations,resourcequotas",),
    "API_UNREACHABLE": ("todo-deploy up", "todo-deploy doctor"),
    "FIELD_CONFLICT": ("todo-deploy up, which names field and way out", "todo-deploy up --force-conflicts"),
}
_NO_KIND = "no matches for kind"
_LONGEST_REFUSAL = 600
_LONGEST_LINE = 2000
"""Characters of a line of helm's that are looked at."""
_FIXED = re.compile(
    r"immutable|may not (?:be )?change|can ?not (?:be )?changed?|updates? to \w+ .*forbidden|not be less than"
)
_REFUSED_OBJECT = re.compile(
    r'(?<!\w)(?P<kind>[A-Z]\w+)(?:\.[\w.]*)? "(?P<name>[^"]+)" is invalid: \[?(?P<field>[\w.\[\]]+): '
)


def _explained(text: str, release: str, namespace: str = "", doing: str = "deploy") -> DeployError:
    # Helm 4 also logs, with the very error and its quotes escaped, before it says what went wrong.
    text = "\n".join(line for line in text.splitlines() if not line.startswith(("level=", "time=")))
    object_error = _of_an_object(text, namespace)
    if object_error is not None:
        return object_error
    text = "\n".join(cut_lines(text, _LONGEST_LINE))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "coalesce.go"))]
    detail = "\n".join(lines[:12])
    for pattern, code, title, exit_code in _MEANINGS:
        if pattern.search(text.lower()):
            hints = _WAYS.get(code, ())
            return DeployError(Problem(code, title.format(release=release), detail=detail, hints=hints), exit_code)
    if doing == "render":
        title, way = f"the chart of release `{release}` does not render", f"helm template {release} CHART --debug"
        return input_error("CHART_RENDER", title, detail=detail, hints=(way,))
    title = f"helm could not {doing} release `{release}`"
    if doing != "deploy":
        return machine_error("HELM_FAILED", title, detail=detail, hints=("todo-deploy doctor",))
    hints = (f"helm status {release}", "todo-deploy validate")
    return input_error("HELM_FAILED", title, detail=detail, hints=hints)


def _of_an_object(text: str, namespace: str) -> DeployError | None:
    """The API server's refusal (422) of one object, by its field; None for any other failure."""
    found = _REFUSED_OBJECT.search(text)
    if found is None or "already allocated" in text:
        return None
    kind, name, field = found["kind"].lower(), found["name"], found["field"]
    # The server repeats the value, which may be a whole pod, before it says what is wrong with it.
    said = text[found.end() :]
    detail = said if len(said) < _LONGEST_REFUSAL else f"{said[:60]} … {said[-_LONGEST_REFUSAL // 2 :]}"
    if not _FIXED.search(said):
        title = f"{kind}/{name}: Kubernetes rejects `{field}`"
        return input_error(
            "OBJECT_INVALID", title, detail=detail, where=f"{kind}/{name}", hints=("todo-deploy validate",)
        )
    inside = f"-n {namespace} " if namespace else ""
    hint = f"kubectl {inside}delete {kind} {name}, then: todo-deploy up (it is gone for that moment)"
    title = f"{kind}/{name}: Kubernetes does not let `{field}` change"
    return DeployError(Problem("FIELD_IMMUTABLE", title, detail, f"{kind}/{name}", (hint,)), ExitCode.REFUSED)
