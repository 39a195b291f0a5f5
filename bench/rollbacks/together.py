"""Two `up` at once, from two clones: one waits, both end well, and what each of them deployed can be gone back to."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from secrets import token_urlsafe

from bench.chaos.victim import Victim
from bench.rollbacks.restored import Shown
from bench.rollbacks.scene import HOLD, OVERLAY, Scene, git

_PAGE = "app/frontend-chatbot/server.mjs"
_SECONDS = 300


def same_user(scene: Scene) -> Shown:
    """Both clones are of one user on one machine, whose file lock they share."""
    return _at_once(scene, "of the same user", shared=True)


def other_machine(scene: Scene) -> Shown:
    """The clones share nothing but the cluster, as on two machines: the Lease holds one of them."""
    return _at_once(scene, "as of two machines", shared=False)


def _at_once(scene: Scene, name: str, *, shared: bool) -> Shown:
    first = scene.project
    home = first.home / f"second-{token_urlsafe(4)}"
    git(first.home, "clone", "--quiet", str(first.root), str(home / "clone"))
    for name_of in (OVERLAY, ".env"):
        shutil.copy2(first.root / name_of, home / "clone" / name_of)
    shutil.copy2(first.kubeconfig, home / "kubeconfig")
    more = {"XDG_STATE_HOME": str(first.state)} if shared else {}
    second = replace(first, root=home / "clone", home=home, more_environment={**first.more_environment, **more})
    before, revision = scene.history()[-1]["number"], scene.project.revision()
    token = token_urlsafe(6)
    with (second.root / _PAGE).open("a") as file:
        file.write(f"\n// {token}\n")
    scene.edit(token)
    begun = time.monotonic()
    runs = [Victim(first, ("up", "--hold", HOLD), f"first-{token}")]
    assert runs[0].await_stage("images", 60)
    runs.append(Victim(second, ("up", "--hold", HOLD), f"second-{token}"))
    for run in runs:
        run.wait(_SECONDS)
    seconds = time.monotonic() - begun
    codes = [run.process.returncode for run in runs]
    found = [] if codes == [0, 0] else [f"exit codes {codes}"]
    waited = [any(one["type"] == "warned" and one["problem"]["code"] == "LOCK_WAIT" for one in run.events)
              for run in runs]  # fmt: skip
    found += [] if waited == [False, True] else [f"waited: {waited}"]
    added = [one for one in scene.history() if one["number"] > before]
    found += [] if [one["verdict"] for one in added] == ["verified"] * 2 else [f"history: {added}"]
    found += [] if scene.project.revision() == revision + 2 else ["not two revisions of Helm's more"]
    refs = [{one["name"]: one["ref"] for one in run.document["data"]["images"]} for run in runs if run.document["data"]]
    kept = [{**one["images"]} for one in added]
    found += [] if refs == kept else [f"deployed {refs}, history has {kept}"]
    page = scene.project.object("deploy", "frontend-chatbot")["spec"]["template"]["spec"]["containers"][0]["image"]
    found += [] if refs and page == refs[-1]["frontend-chatbot"] else [f"{page} serves, not the later one's"]
    outcome = "one waited, both verified; the later one's change serves, the earlier one's revision is in the history"
    shutil.rmtree(home, ignore_errors=True)
    return Shown(f"two `up` at once, {name}", outcome, seconds, tuple(found))
