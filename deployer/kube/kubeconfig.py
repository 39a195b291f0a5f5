"""Kubeconfigs: whose cluster a context leads to, one of a single context for a shell of `todo-deploy env`, and the
current context, which is the user's choice.

It is kept while Minikube writes there, also when a run is killed: what it was is noted on disk before. A note that is
still there when the next run begins is of a run that was killed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deployer.core.errors import machine_error, refused
from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json, read_text, shaped
from deployer.core.yaml import parse_manifest

_CURRENT = re.compile(r"^current-context:.*$", re.MULTILINE)
_FILES = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
}


Owner = Literal["absent", "minikube", "foreign"]


@dataclass(frozen=True, slots=True)
class _Note:
    kubeconfig: str
    context: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extension:
    extension: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClusterShape:
    server: str | None = None
    extensions: list[_Extension] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedCluster:
    name: str
    cluster: _ClusterShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ContextShape:
    cluster: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedContext:
    name: str
    context: _ContextShape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _NamedUser:
    name: str
    user: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What a kubeconfig must look like, as far as it is read here."""

    contexts: list[_NamedContext] | None = None
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None


def read(source: Path) -> Mapping[str, Any]:
    """The kubeconfig; empty where there is none, machine error where it cannot be read."""
    try:
        document = next(iter(parse_manifest(read_text(source))), {})
        shaped(_Shape, document)
        return document
    except FileNotFoundError:
        return {}
    except OSError as error:
        detail = error.strerror or str(error)
        raise machine_error(
            "KUBECONFIG_UNREADABLE", f"cannot read {source}", detail=detail, hints=(f"ls -l {source}",)
        ) from None
    except Malformed as error:
        title, where = f"{source} is not a kubeconfig", error.at(str(source))
        hints = (f"kubectl config view --kubeconfig {source}",)
        raise machine_error("KUBECONFIG_UNREADABLE", title, detail=str(error), where=where, hints=hints) from None


def owner(document: Mapping[str, Any], context: str) -> Owner:
    """Whose cluster the context leads to: Minikube marks its own (pkg/minikube/kubeconfig/extension.go)."""
    if _named(document, "contexts", context) is None:
        return "absent"
    cluster = _cluster(document, context)
    marks = [(one.get("extension") or {}).get("provider") for one in cluster.get("extensions") or ()]
    return "minikube" if "minikube.sigs.k8s.io" in marks else "foreign"


def server_of(document: Mapping[str, Any], context: str) -> str:
    """The address of the API server that the context leads to; empty where the kubeconfig has none."""
    return str(_cluster(document, context).get("server") or "")


def account_of(document: Mapping[str, Any], context: str) -> tuple[str, str]:
    """The address of the context's API server and the name of its user; empty where the kubeconfig has none."""
    named = (_named(document, "contexts", context) or {}).get("context") or {}
    return server_of(document, context), str(named.get("user") or "")


def identity_of(source: Path, context: str) -> tuple[str, str]:
    """Server and digest of the CA certificate of the context's cluster: what identifies it besides its name."""
    cluster = _cluster(read(source), context)
    certificate = str(cluster.get("certificate-authority-data") or "").encode()
    path = cluster.get("certificate-authority")
    if path and not certificate:
        with suppress(OSError):
            certificate = base64.b64encode((source.parent / str(path)).read_bytes())
    return str(cluster.get("server") or ""), hashlib.sha256(certificate).hexdigest()


def refuse_foreign(source: Path, context: str) -> None:
    """Returns when the context is absent or leads to a cluster of Minikube's; refused otherwise."""
    document = read(source)
    if owner(document, context) == "foreign":
        raise refused(
            "CONTEXT_FOREIGN",
            f"the context `{context}` in {source} does not belong to Minikube",
            detail=f"its server is {_cluster(document, context).get('server', 'unknown')}",
            hints=("give `cluster.name` another name", "or name it as `cluster.context` with `provider: context`"),
        )


def only_context(document: Mapping[str, Any], context: str, folder: Path) -> dict[str, Any] | None:
    """The kubeconfig with this context alone, as the current one; None where it has no such context.

    Paths in it are relative to `folder`, where it was read.
    """
    chosen = _named(document, "contexts", context)
    if chosen is None:
        return None
    inside = chosen.get("context") or {}
    cluster = _named(document, "clusters", inside.get("cluster", ""))
    user = _named(document, "users", inside.get("user", ""))
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [dict(chosen)],
        "clusters": [] if cluster is None else [_absolute(cluster, "cluster", folder)],
        "users": [] if user is None else [_absolute(user, "user", folder)],
    }


def write_context(source: Path, context: str, target: Path) -> None:
    """`target` (mode 0600) holds this context of `source` alone; machine error where it cannot be read or written."""
    found = only_context(read(source), context, source.parent)
    if found is None:
        raise machine_error("CONTEXT_MISSING", f"no context `{context}` in {source}", hints=("todo-deploy up",))
    try:
        write_private(target, json.dumps(found, indent=2, default=str) + "\n")
    except OSError as error:
        raise machine_error(
            "STATE_UNWRITABLE",
            f"cannot write {target}",
            detail=error.strerror or "",
            hints=(f"ls -ld {target.parent}",),
        ) from None


def _cluster(document: Mapping[str, Any], context: str) -> Mapping[str, Any]:
    """The cluster that the context leads to; empty where the kubeconfig has none."""
    inside = (_named(document, "contexts", context) or {}).get("context") or {}
    return (_named(document, "clusters", inside.get("cluster", "")) or {}).get("cluster") or {}


def _named(document: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any] | None:
    return next((one for one in document.get(kind) or () if one.get("name") == name), None)


def _absolute(entry: Mapping[str, Any], kind: str, folder: Path) -> dict[str, Any]:
    inside = dict(entry.get(kind) or {})
    for key in _FILES[kind]:
        if inside.get(key):
            inside[key] = str(folder / str(inside[key]))
    return {**entry, kind: inside}


@contextmanager
def current_context_kept(kubeconfig: Path, note: Path, own: str) -> Iterator[None]:
    """While inside, somebody may make `own` the current context; afterwards it is again what it was before."""
    restore_current_context(kubeconfig, note, own)
    before = current_context(kubeconfig)
    write_private(note, json.dumps({"kubeconfig": str(kubeconfig), "context": before}))
    try:
        yield
    finally:
        if current_context(kubeconfig) != before:
            choose_context(kubeconfig, before)
        note.unlink(missing_ok=True)


def restore_current_context(kubeconfig: Path, note: Path, own: str) -> bool:
    """What a killed run left is put right, where nobody has chosen since; whether there was anything to do."""
    try:
        noted = read_json(note, _Note)
    except (OSError, Malformed):
        return False
    changed = noted.kubeconfig == str(kubeconfig) and noted.context != own and current_context(kubeconfig) == own
    if changed:
        choose_context(kubeconfig, noted.context)
    note.unlink(missing_ok=True)
    return changed


def current_context(kubeconfig: Path) -> str:
    """The current context; empty where there is none."""
    return str(read(kubeconfig).get("current-context") or "")


def choose_context(kubeconfig: Path, context: str) -> None:
    """The kubeconfig's current context is this one, everything else in it as it was.

    Not by kubectl: killed at the wrong moment it leaves a lock file that keeps every later one out.
    """
    text = kubeconfig.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        fresh = json.dumps({**read(kubeconfig), "current-context": context}, indent=2) + "\n"
    else:
        line = f"current-context: {json.dumps(context)}"
        fresh, count = _CURRENT.subn(lambda _: line, text)
        fresh = fresh if count else f"{text.rstrip()}\n{line}\n"
    write_private(kubeconfig, fresh)
