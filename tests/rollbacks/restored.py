"""What a rollback brings back: a Secret's value, an image that was pruned; or the reason why it cannot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_urlsafe

from deployer.errors import ExitCode
from tests.rollbacks.scene import HOLD, Scene

_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Shown:
    """One thing that was tried: what came of it, and everything that was not as it must be."""

    name: str
    outcome: str
    seconds: float
    complaints: tuple[str, ...] = ()


def secret_value(scene: Scene) -> Shown:
    """A key is rotated; after the rollback the pods have the old value again."""
    old, new = f"sk-old-{token_urlsafe(8)}", f"sk-new-{token_urlsafe(8)}"
    seen = []
    for value in (old, new):
        scene.project.set_env(_KEY, value)
        scene.up()
        seen.append(scene.in_pod(_KEY) == value)
    done, document = scene.run("rollback", "--hold", HOLD)
    back = scene.in_pod(_KEY) == old
    found = [] if seen == [True, True] else [f"the rotated values did not reach the pods: {seen}"]
    found += [] if done.returncode == 0 and back else [f"exit {done.returncode}, the old value is back: {back}"]
    found += [] if new not in done.stderr + str(document) else ["the value was told"]
    scene.project.set_env(_KEY, old)
    return Shown("changed secret value, then rollback", "the pods have the old value", done.seconds, tuple(found))


def pruned_image(scene: Scene) -> Shown:
    """The image of a committed revision was removed: it is built again from that commit, under the same tag."""
    scene.edit(f"kept {token_urlsafe(6)}")
    sha = scene.commit("one that will be pruned")
    scene.up()
    ref = scene.image()
    scene.edit(f"newer {token_urlsafe(6)}")
    scene.commit("a newer one")
    scene.up()
    _prune(scene, ref)
    done, document = scene.run("rollback", "--hold", HOLD)
    found = [] if done.returncode == 0 else [f"exit {done.returncode}: {document['errors']}"]
    found += [] if scene.image() == ref else [f"{scene.image()} serves, not {ref}"]
    label = '{{ index .Config.Labels "org.opencontainers.image.revision" }}'
    found += [] if sha in scene.project.in_node("docker", "image", "inspect", "--format", label, ref) else ["its label"]
    found += [] if f"built again from commit {sha[:7]}" in done.stderr else ["it was not said what was built"]
    scene.up()
    return Shown("pruned image, then rollback", f"built again from commit {sha[:7]}", done.seconds, tuple(found))


def pruned_uncommitted(scene: Scene) -> Shown:
    """The image was built from uncommitted changes and removed: refused with the reason, and nothing changes."""
    scene.edit(f"never committed {token_urlsafe(6)}")
    scene.up()
    ref = scene.image()
    scene.edit(f"nor this {token_urlsafe(6)}")
    scene.up()
    now, pods = scene.image(), scene.project.pods()
    _prune(scene, ref)
    done, document = scene.run("rollback", "--hold", HOLD)
    told = document["errors"][0] if document["errors"] else {"code": "", "detail": ""}
    found = [] if done.returncode == ExitCode.REFUSED else [f"exit {done.returncode}, not 7"]
    found += [] if told["code"] == "ROLLBACK_IMAGE" and "uncommitted" in told["detail"] else [f"told {told}"]
    found += [] if scene.image() == now and not scene.project.rolled(pods) else ["something changed"]
    return Shown("pruned image of uncommitted changes", f"refused: {told['detail']}", done.seconds, tuple(found))


def _prune(scene: Scene, ref: str) -> None:
    """The image is gone from the cluster's daemon, once no container of it is left."""
    deadline = time.monotonic() + 60
    while scene.project.in_node("docker", "ps", "--all", "--quiet", "--filter", f"ancestor={ref}"):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    scene.project.in_node("docker", "rmi", "--force", ref)


SHOWS: tuple[Callable[[Scene], Shown], ...] = (secret_value, pruned_image, pruned_uncommitted)
