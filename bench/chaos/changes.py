"""What a killed `up` has to do: an edit of a source, a value or a secret, as a developer makes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.project import Project

_LINE = "app/backend/todo_backend/routes/health.py"
_PAGE = "app/frontend-chatbot/server.mjs"
_NOTE, _KEY = "CHAOS_NOTE", "OPENAI_API_KEY"
_OVERLAY = "todo-deploy.local.yaml"
# As documented, a pod is asked for the first time after 5 to 15 seconds: fifty runs would take twice the time.
_SOON = {
    "probes": {
        "readiness": {"initialDelaySeconds": 0, "periodSeconds": 1},
        "startup": None,
    },
    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    "preStopSeconds": 1,
}


@dataclass
class Wanted:
    """What the copy's files ask for now."""

    texts: dict[str, str] = field(default_factory=dict)


def prepare(project: Project) -> None:
    """The copy's overlay asks for short probes; nothing else of the application is changed."""
    _write_overlay(project, "first")


def make(change: str, token: str, project: Project, wanted: Wanted) -> None:
    """The change is in the copy's files, in a form that nobody built or deployed before."""
    CHANGES[change](project, token)
    wanted.texts[change] = token


def missing(project: Project, wanted: Wanted, images: Mapping[str, str]) -> list[str]:
    """What the files ask for and the cluster does not have; empty when all is there."""
    found = []
    note = wanted.texts.get("value")
    if note and not any((one.get("data") or {}).get(_NOTE) == note for one in project.objects("configmap")):
        found.append(f"no ConfigMap says {_NOTE}={note}")
    key = wanted.texts.get("secret")
    if key and _held(project) != key:
        found.append(f"Secret app-secrets does not hold the new {_KEY}")
    for one in project.objects("deploy,sts"):
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        if image not in images.values():
            found.append(f"{one['metadata']['name']} runs {image}, which is not one of this `up`")
    return found


def _held(project: Project) -> str:
    return base64.b64decode(project.object("secret", "app-secrets")["data"][_KEY]).decode()


def _line(project: Project, token: str) -> None:
    _append(project, _LINE, f"\n# {token}\n")


def _page(project: Project, token: str) -> None:
    _append(project, _PAGE, f"\n// {token}\n")


def _value(project: Project, token: str) -> None:
    _write_overlay(project, token)


def _secret(project: Project, token: str) -> None:
    project.set_env(_KEY, token)


CHANGES: Mapping[str, Callable[[Project, str], None]] = {
    "line": _line,
    "page": _page,
    "value": _value,
    "secret": _secret,
}


def _append(project: Project, path: str, text: str) -> None:
    with (project.root / path).open("a") as file:
        file.write(text)


def _write_overlay(project: Project, note: str) -> None:
    parts: dict[str, Any] = {name: dict(_SOON) for name in ("backend", "frontend-web", "frontend-chatbot")}
    parts["backend"] |= {"config": {"data": {_NOTE: note}}}
    parts["database"] = {"probes": {"readiness": {"periodSeconds": 1}}}
    overlay = {"releases": {"todo-app": {"values": parts}}}
    (project.root / _OVERLAY).write_text(json.dumps(overlay, indent=1) + "\n")
