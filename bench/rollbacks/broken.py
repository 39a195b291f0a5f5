"""Broken versions in a row: each is rolled back by itself, and no user of the application notices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.rollbacks.scene import HOLD, Scene
from deployer.core.errors import ExitCode
from tests.e2e.browser import Visitors
from tests.e2e.hook import IMAGE, migration

GONE_TAG = "1.0.0-0000000dead0"
_HOOK = migration("before-hook-creation,hook-failed")
_NO_IMAGE = f"todo-backend:{GONE_TAG}\n          imagePullPolicy: Never"


@dataclass(frozen=True)
class Version:
    """One broken version: what is wrong with it, and the cause that must be reported."""

    name: str
    cause: str
    backend: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    timeout: str = "60s"


def _waived(rule: str) -> dict[str, Any]:
    return {"rules": {"waive": [{"rule": rule, "reason": "broken on purpose"}]}}


def _never_there(tag: str) -> dict[str, Any]:
    mapped = {"backend.image.repository": "{repository}", "backend.image.tag": tag}
    return {"releases": {"todo-app": {"images": {"backend": mapped}}}, **_waived("TAG_NOT_BUILT")}


def _crashing(text: str) -> str:
    return text.replace("def main() -> int:\n", "def main() -> int:\n    raise SystemExit('no such setting: PRICES')\n")


VERSIONS = (
    Version("crash at start", "CRASH_LOOP", files={"app/backend/todo_backend/__main__.py": _crashing}),
    Version("failing probe", "READINESS_PROBE", timeout="25s",
            backend={"probes": {"readiness": {"httpGet": {"path": "/no-such-page", "port": 8000}}}}),
    Version("missing key", "CONFIG_KEY_MISSING", spec=_waived("REFERENCE_KEY_MISSING"),
            backend={"secretEnv": {"OPENAI_API_KEY": {"secret": "app-secrets", "key": "OPENAI_APIKEY"}}}),
    Version("bad image", "IMAGE_NEVER_PULL", backend={"image": {"pullPolicy": "Never"}}, spec=_never_there(GONE_TAG)),
    Version("out of memory", "OOM_KILLED",
            backend={"resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "48Mi"}}}),
    Version("hook that fails", "HOOK_FAILED", files={"charts/todo-app/templates/migrate.yaml": lambda _: _HOOK}),
    # Helm would wait for this one until its timeout: it is stopped.
    Version("hook that cannot start", "IMAGE_NEVER_PULL", spec=_waived("TAG_NOT_BUILT"),
            files={"charts/todo-app/templates/migrate.yaml": lambda _: _HOOK.replace(IMAGE, _NO_IMAGE)}),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """How one version went; `complaints` are everything that was not as it must be."""

    version: Version
    exit_code: int
    codes: str
    seconds: float
    asked: int
    failed: int
    helm: str
    complaints: tuple[str, ...]


def go_wrong(version: Version, scene: Scene) -> Row:
    """The broken version was deployed, and the one before serves again; every user of it was watched."""
    before, revisions, pods = scene.helm_history()[-1], scene.history(), scene.project.pods()
    served = scene.image()
    pages = [Visitors(scene.urls[name] + "/api/health") for name in ("web", "chatbot")]
    pages.append(Visitors(scene.urls["web"] + "/login", people=1))
    with _broken(version, scene), pages[0], pages[1], pages[2]:
        done, document = scene.run("up", "--hold", HOLD, "--timeout", version.timeout)
    found = []
    codes = [one["code"] for one in document["errors"]]
    if done.returncode != ExitCode.PREVIOUS_SERVES:
        found.append(f"exit code {done.returncode}, not 5")
    if codes != [version.cause, "ROLLED_BACK"]:
        found.append(f"reported {codes}")
    failures = [one for page in pages for one in page.failures]
    found += [f"a request failed: {one}" for one in failures[:3]]
    failed, back = scene.helm_history()[-2:]
    found += _helm_complaints(version, before, failed, back)
    found += _history_complaints(version, len(revisions), scene.history())
    if scene.image() != served:
        found.append(f"{scene.image()} serves, not {served}")
    if scene.project.rolled(pods):
        found.append(f"pods were replaced: {scene.project.rolled(pods)}")
    if "water the plants" not in scene.ann.tasks():
        found.append("a task is lost")
    if version.cause == "HOOK_FAILED":
        found += _hook_complaints(scene, document)
    helm = f"{failed['revision']} {failed['status']} ({version.cause}), {back['revision']} {back['status']}"
    asked = sum(page.asked for page in pages)
    return Row(version, done.returncode, ", ".join(codes), done.seconds, asked, len(failures), helm, tuple(found))


def _helm_complaints(
    version: Version, before: Mapping[str, Any], failed: Mapping[str, Any], back: Mapping[str, Any]
) -> Iterator[str]:
    """Helm's history has the failure with its cause, and the rollback after it."""
    if (failed["status"], back["status"]) != ("failed", "deployed"):
        yield f"helm history says {failed['status']}, {back['status']}"
    if not failed["description"].startswith(f"{version.cause}: "):
        yield f"helm's reason is {failed['description']!r}"
    if back["revision"] != before["revision"] + 2:
        yield f"helm is at revision {back['revision']}, was at {before['revision']}"


def _history_complaints(version: Version, before: int, history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The application's history has the failure with its cause, and the rollback after it; it keeps ten revisions."""
    if len(history) < before + 2 and len(history) < 10:
        yield "todo-deploy history has not two revisions more"
    ends = [(one["verdict"], one["cause"]) for one in history[-2:]]
    if ends != [("failed", version.cause), ("verified", "")]:
        yield f"todo-deploy history says {ends}"
    if not re.match(r"rollback to revision \d+", history[-1]["why"]):
        yield f"its last reason is {history[-1]['why']!r}"


def _hook_complaints(scene: Scene, document: Mapping[str, Any]) -> Iterator[str]:
    """The delete policy has taken the Job; its log must have been kept, and shown."""
    runs = sorted((scene.project.state / "todo-deploy" / "runs").iterdir())
    logs = [one.read_text() for one in (runs[-1] / "hooks").glob("*.log")]
    if not any("migration 0007 failed" in text for text in logs):
        yield f"the hook's log was not kept: {logs}"
    if "migration 0007 failed" not in document["errors"][0]["detail"]:
        yield f"the hook's log was not shown: {document['errors'][0]['detail']!r}"


@contextmanager
def _broken(version: Version, scene: Scene) -> Iterator[None]:
    """While inside, files and overlay are those of the broken version."""
    root = scene.project.root
    before = {name: (root / name).read_text() if (root / name).exists() else None for name in version.files}
    for name, change in version.files.items():
        after = change(before[name] or "")
        assert after != before[name], name
        (root / name).write_text(after)
    scene.overlay(version.backend, **version.spec)
    try:
        yield
    finally:
        scene.overlay()
        for name, text in before.items():
            if text is None:
                (root / name).unlink()
            else:
                (root / name).write_text(text)
