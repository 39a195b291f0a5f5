"""The kubeconfig's current context is the user's choice: kept while Minikube writes there, also when a run is killed.

What it was is noted on disk before. A note that is still there when the next run begins is of a run that was killed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json
from deployer.kube.kubeconfig import read


@dataclass(frozen=True, slots=True)
class _Note:
    kubeconfig: str
    context: str = ""


_LINE = re.compile(r"^current-context:.*$", re.MULTILINE)


@contextmanager
def kept(kubeconfig: Path, note: Path, own: str) -> Iterator[None]:
    """While inside, somebody may make `own` the current context; afterwards it is again what it was before."""
    restore(kubeconfig, note, own)
    before = current(kubeconfig)
    write_private(note, json.dumps({"kubeconfig": str(kubeconfig), "context": before}))
    try:
        yield
    finally:
        if current(kubeconfig) != before:
            choose(kubeconfig, before)
        note.unlink(missing_ok=True)


def restore(kubeconfig: Path, note: Path, own: str) -> bool:
    """What a killed run left is put right, where nobody has chosen since; whether there was anything to do."""
    try:
        noted = read_json(note, _Note)
    except (OSError, Malformed):
        return False
    changed = noted.kubeconfig == str(kubeconfig) and noted.context != own and current(kubeconfig) == own
    if changed:
        choose(kubeconfig, noted.context)
    note.unlink(missing_ok=True)
    return changed


def current(kubeconfig: Path) -> str:
    """The current context; empty where there is none."""
    return str(read(kubeconfig).get("current-context") or "")


def choose(kubeconfig: Path, context: str) -> None:
    """The kubeconfig's current context is this one, everything else in it as it was.

    Not by kubectl: killed at the wrong moment it leaves a lock file that keeps every later one out.
    """
    text = kubeconfig.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        fresh = json.dumps({**read(kubeconfig), "current-context": context}, indent=2) + "\n"
    else:
        line = f"current-context: {json.dumps(context)}"
        fresh, count = _LINE.subn(lambda _: line, text)
        fresh = fresh if count else f"{text.rstrip()}\n{line}\n"
    write_private(kubeconfig, fresh)
