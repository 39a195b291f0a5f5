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


def _labels(app: Project, revision: int) -> tuple[str, str]:
    """Helm's status of the revision, and our verdict on it."""
    labels = app.object("secret", f"sh.helm.release.v1.{RELEASE}.v{revision}")["metadata"]["labels"]
    return labels["status"], labels["todo-deploy.dev/verdict"]


# A URL that nothing answers, and a value that makes a revision of it.
_NEW_URL = {
    "urls": {"admin": {"service": "frontend-web-service", "path": "/no-such-page"}},
    "releases": {RELEASE: {"values": {"backend": {"config": {"data": {"LOG_LEVEL": "DEBUG"}}}}}},
}


def test_after_a_new_url_that_fails_every_source_says_what_serves(app: Project, urls: dict[str, str]) -> None:
    revision, known = app.revision(), app.json("history")["data"]["revisions"]
    overlay = app.root / "todo-deploy.local.yaml"
    overlay.write_text(json.dumps(_NEW_URL))
    try:
        done = app.run("up", "--hold", "1s", "--progress", "plain", "-o", "json")
    finally:
        overlay.unlink()
    tell("a new URL that fails, and back", f"{done.seconds:.1f} s")
    assert done.returncode == ExitCode.PREVIOUS_SERVES, done.stderr[-4000:]
    assert [one["code"] for one in one_document(done.stdout)["errors"]] == ["URL_FAILED", "ROLLED_BACK"]
    assert "error[ROLLED_BACK]" not in done.stderr
    (shown,) = app.json("status")["data"]["releases"]
    assert (shown["revision"], shown["status"], shown["verdict"]) == (revision + 2, "deployed", "verified")
    assert [_labels(app, number) for number in (revision + 1, revision + 2)] == [
        ("failed", "failed"), ("deployed", "verified"),
    ]  # fmt: skip
    *_, bad, good = app.json("history")["data"]["revisions"]
    assert (bad["verdict"], bad["cause"], good["verdict"]) == ("failed", "URL_FAILED", "verified")
    assert [one["name"] for one in good["urls"]] == [one["name"] for one in known[-1]["urls"]]
    told = app.json("explain")["data"]
    assert (told["exitCode"], told["cause"]["code"]) == (ExitCode.PREVIOUS_SERVES, "URL_FAILED")
    assert [(one["revision"], one["verdict"]) for one in told["releases"]] == [
        (revision + 1, "failed"), (revision + 2, "verified"),
    ]  # fmt: skip
    assert any(name.startswith("cluster/logs/") for name in told["files"])
    assert app.up()["changed"] is False
