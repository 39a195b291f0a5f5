"""A broken version is rolled back by itself while people use the application, and both histories show it."""

from __future__ import annotations

import json

from deployer.core.errors import ExitCode
from tests.e2e.browser import Browser, Visitors
from tests.e2e.project import RELEASE, Project, one_document, tell

# Any of the five of `make rollbacks` would do; this one Kubernetes knows of at once.
_BROKEN = {
    "releases": {
        RELEASE: {
            "values": {"backend": {"secretEnv": {"OPENAI_API_KEY": {"secret": "app-secrets", "key": "NO_SUCH_KEY"}}}}
        }
    },
    "rules": {"waive": [{"rule": "REFERENCE_KEY_MISSING", "reason": "broken on purpose"}]},
}


def test_a_broken_version_is_rolled_back_by_itself(app: Project, urls: dict[str, str], ann: Browser) -> None:
    pods, revision, known = app.pods(), app.revision(), app.json("history")["data"]["revisions"]
    overlay = app.root / "todo-deploy.local.yaml"
    overlay.write_text(json.dumps(_BROKEN))
    try:
        with Visitors(urls["web"] + "/api/health") as visitors:
            done = app.run("up", "--hold", "1s", "--progress", "plain", "-o", "json")
    finally:
        overlay.unlink()
    tell("a broken version, and back", f"{done.seconds:.1f} s, {visitors.asked} requests")
    assert done.returncode == ExitCode.PREVIOUS_SERVES, done.stderr[-4000:]
    assert [one["code"] for one in one_document(done.stdout)["errors"]] == ["CONFIG_KEY_MISSING", "ROLLED_BACK"]
    assert visitors.failures == []
    assert app.rolled(pods) == set()
    assert ann.tasks()
    failed, back = json.loads(app.helm("history", RELEASE, "--namespace", "default", "-o", "json"))[-2:]
    assert (failed["revision"], failed["status"]) == (revision + 1, "failed")
    assert failed["description"].startswith("CONFIG_KEY_MISSING: ")
    assert (back["revision"], back["status"]) == (revision + 2, "deployed")
    *_, bad, good = app.json("history")["data"]["revisions"]
    assert (bad["number"], bad["verdict"], bad["cause"]) == (known[-1]["number"] + 1, "failed", "CONFIG_KEY_MISSING")
    assert (good["verdict"], good["images"]) == ("verified", known[-1]["images"])
    assert app.up()["changed"] is False
