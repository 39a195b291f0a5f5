"""002-k8s-deployment on the real cluster: two releases, each for itself, states as drawn, the way back, the end."""

from __future__ import annotations

import json
from pathlib import Path

from bench.topologies.journey import left_behind
from deployer.status import Phase
from tests.e2e.browser import request
from tests.seed_words import SEED_WORDS
from tests.topologies.live import Live, Watch, differences, eventually, first_task

NAME = "002-k8s-deployment"
COMPONENTS = ("todo-backend", "todo-frontend")
STUCK = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: stuck}}
spec:
  progressDeadlineSeconds: {deadline}
  selector: {{matchLabels: {{app: stuck}}}}
  template:
    metadata: {{labels: {{app: stuck}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: stuck, image: {image}, command: [python, -c, "import time; time.sleep(3600)"],
           readinessProbe: {{exec: {{command: [test, -e, /tmp/never]}}, periodSeconds: 1}}}}
"""


def revisions(live: Live) -> dict[str, tuple[int, str]]:
    """Each release's newest revision and its status, as helm lists them."""
    found = json.loads(live.project.helm("list", "-n", live.namespace, "-o", "json"))
    return {one["name"]: (int(one["revision"]), one["status"]) for one in found}


def test_it_answers(live: Live) -> None:
    first_task(live.url)


def test_live_objects_are_as_documented(live: Live, own_helm: str, tmp_path: Path) -> None:
    assert not (found := differences(live, own_helm, tmp_path)), "\n".join(found)
    secret = live.get("secret", "todo-secrets")
    assert (secret["type"], set(secret["data"])) == ("Opaque", {"DATABASE_URL", "JWT_SECRET", "OPENAI_API_KEY"})
    for name, replicas in (("todo-backend", 1), ("todo-frontend", 2)):
        status = live.get("deployment", name)["status"]
        assert status["availableReplicas"] == status["replicas"] == replicas


def test_releases_are_deployed(live: Live) -> None:
    assert revisions(live) == dict.fromkeys(("database", *COMPONENTS), (1, "deployed"))
    done, document = live.app.run_json("status")
    assert done.returncode == 0
    assert {one["name"] for one in document["data"]["releases"]} == {"database", *COMPONENTS}


def test_pods_show_what_the_document_lists(live: Live) -> None:
    for name in COMPONENTS:
        for pod in live.pods(name):
            assert pod["metadata"]["name"].startswith(f"{name}-")
            assert pod["metadata"]["ownerReferences"][0]["name"].startswith(f"{name}-")
            assert (pod["metadata"]["namespace"], pod["status"]["phase"]) == ("todo", "Running")
            assert pod["status"]["podIP"] and pod["spec"]["nodeName"]
            assert pod["status"]["containerStatuses"][0]["restartCount"] == 0


def test_the_backend_binds_the_configured_address(live: Live) -> None:
    """BACKEND_HOST and BACKEND_PORT are obeyed: on another port the readiness probe of 8000 finds nobody."""
    pod = live.pods("todo-backend")[0]["metadata"]["name"]
    program = "print(open('/proc/net/tcp').read())"
    listening = live.kubectl("exec", pod, "--", "python", "-c", program)
    assert "00000000:1F40" in listening  # 0.0.0.0:8000


def test_lifecycle_as_drawn(live: Live) -> None:
    """none → Pending → Progressing → Available for both, and → Stalled for one that never becomes ready."""
    words = {word: SEED_WORDS["002", "Deployment", word] for word in ("Pending", "Progressing", "Available", "Stalled")}
    for name in COMPONENTS:
        path = list(live.seen[name])
        assert path[-2:] == [words["Progressing"], words["Available"]], path
        assert path[:-2] in ([], [words["Pending"]]), path
    image = live.pods("todo-backend")[0]["spec"]["containers"][0]["image"]
    try:
        with Watch(live.namespace, ["stuck"]) as watch:
            live.apply(STUCK.format(image=image, deadline=15))
            eventually(lambda: watch.phase("stuck") is words["Stalled"], "Stalled")
    finally:
        live.kubectl("delete", "deployment", "stuck", "--wait=true")
    assert watch.seen["stuck"][-2:] == [words["Progressing"], words["Stalled"]]
    assert Phase.AVAILABLE not in watch.seen["stuck"]


def test_upgrading_one_release_leaves_the_other_alone(live: Live) -> None:
    before = revisions(live)
    kept = {pod["metadata"]["uid"] for pod in live.pods("todo-frontend")}
    tags = live.tags(live.first)
    with live.project.edited("app/backend/todo_backend/__init__.py", lambda text: text + "\n# of another time\n"):
        _, changed = live.app.data("up")
    assert revisions(live) == before | {"todo-backend": (before["todo-backend"][0] + 1, "deployed")}
    assert {pod["metadata"]["uid"] for pod in live.pods("todo-frontend")} == kept
    assert live.tags(changed) == tags | {"backend": live.tags(changed)["backend"]}
    assert live.tags(changed)["backend"] != tags["backend"]
    live.app.data("rollback")
    assert live.pods("todo-backend")[-1]["spec"]["containers"][0]["image"].endswith(tags["backend"])
    assert {pod["metadata"]["uid"] for pod in live.pods("todo-frontend")} == kept


def test_a_failed_upgrade_is_failed_in_helms_own_words(live: Live) -> None:
    done, _ = live.app.run_json("up", "--set", "releases.todo-backend.values.command=[nowhere]")
    assert done.returncode == 5, done.stderr[-2000:]
    history = json.loads(live.project.helm("history", "todo-backend", "-n", live.namespace, "-o", "json"))
    assert "failed" in {one["status"] for one in history}
    assert revisions(live)["todo-backend"][1] == "deployed"
    assert request("GET", f"{live.url}/api/health").status == 200


def test_nothing_is_left_behind(live: Live) -> None:
    live.app.data("down", "--volumes", "--yes")
    assert left_behind(live.app, live.before) == set()
