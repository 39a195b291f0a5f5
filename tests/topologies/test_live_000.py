"""000-todo-chatbot on the real cluster: objects, states as drawn, versions, the volume, the way back, the end."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

from bench.topologies.journey import left_behind
from deployer.status import PodPhase
from tests.e2e.browser import Browser, request
from tests.seed_words import SEED_WORDS
from tests.topologies.live import Live, Watch, differences, eventually, first_task, pod_phases

NAME = "000-todo-chatbot"
COMPONENTS = ("frontend", "backend")
# "Deployment State Machine" of the document: an arrow from each state to those on its right.
DRAWN = {
    "Created": {"Progressing"},
    "Progressing": {"Available", "Failed"},
    "Available": {"Updated", "Degraded"},
    "Updated": {"Available"},
}
# A program of the backend's image that is ready once a file is there, and that a pod's state can be made with.
MACHINE = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: machine}}
spec:
  selector: {{matchLabels: {{app: machine}}}}
  template:
    metadata: {{labels: {{app: machine}}}}
    spec:
      terminationGracePeriodSeconds: 0
      schedulerName: {scheduler}
      containers:
        - name: machine
          image: {image}
          command: [python, -c, "import time; time.sleep(3); open('/tmp/ready', 'w'); time.sleep(3600)"]
          env: [{{name: ROUND, value: "{round}"}}]
          readinessProbe: {{exec: {{command: [test, -e, /tmp/ready]}}, periodSeconds: 1, failureThreshold: 1}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: {restart}
  containers: [{{name: it, image: {image}, command: [python, -c, "{program}"]}}]
"""


def test_the_frontend_answers_at_a_load_balancers_address(live: Live) -> None:
    status = live.get("service", "frontend")["status"]
    (given,) = status["loadBalancer"]["ingress"]
    assert live.url == f"http://{given['ip']}:8080"
    assert request("GET", f"{live.url}/login").status == 200
    first_task(live.url)


def test_live_objects_are_as_documented(live: Live, own_helm: str, tmp_path: Path) -> None:
    assert not (found := differences(live, own_helm, tmp_path)), "\n".join(found)
    secret = live.get("secret", "todo-chatbot-secret")
    assert secret["type"] == "Opaque"
    assert secret["data"].keys() == {"DATABASE_URL", "OPENAI_API_KEY", "NEON_API_KEY"}
    claim = live.get("pvc", "backend-data")
    assert (claim["status"]["phase"], claim["status"]["capacity"]["storage"]) == ("Bound", "10Gi")
    assert live.get("pv", claim["spec"]["volumeName"])["spec"]["claimRef"]["name"] == "backend-data"


def test_images_run_as_1001_and_are_small(live: Live) -> None:
    for name in COMPONENTS:
        (pod,) = live.pods(name)
        assert live.kubectl("exec", pod["metadata"]["name"], "--", "id", "-u").strip() == "1001"
        image = pod["spec"]["containers"][0]["image"]
        described = json.loads(live.project.in_node("docker", "image", "inspect", image))[0]
        assert described["Size"] < 500 * 10**6
        assert described["Id"].startswith("sha256:") and described["Created"] and described["RootFS"]["Layers"]


def test_the_deployments_went_through_their_states_as_drawn(live: Live) -> None:
    known = {word: SEED_WORDS["000", "Deployment", word] for word in ("Created", "Progressing", "Available")}
    for name in COMPONENTS:
        assert list(live.seen[name])[-2:] == [known["Progressing"], known["Available"]], live.seen
        assert set(live.seen[name]) <= set(known.values()), live.seen


def test_deployment_state_machine(live: Live) -> None:
    """Created → Progressing → Available → Updated → Available → Degraded, each brought about by hand."""
    image = live.pods("backend")[0]["spec"]["containers"][0]["image"]
    words: list[str] = []

    def apply(scheduler: str, round: int) -> None:
        live.apply(MACHINE.format(image=image, scheduler=scheduler, round=round))

    def reach(word: str, watch: Watch) -> None:
        eventually(lambda: watch.phase("machine") is SEED_WORDS["000", "Deployment", word], word)
        words.append(word)

    try:
        with Watch(live.namespace, ["machine"]) as watch:
            apply("nobody", 1)
            reach("Created", watch)
            apply("default-scheduler", 1)
            reach("Progressing", watch)
            reach("Available", watch)
            apply("default-scheduler", 2)
            reach("Updated", watch)
            reach("Available", watch)
            (pod,) = [one for one in live.pods("machine") if one["status"]["phase"] == "Running"]
            live.kubectl("exec", pod["metadata"]["name"], "--", "rm", "/tmp/ready")
            reach("Degraded", watch)
    finally:
        live.kubectl("delete", "deployment", "machine", "--wait=true")
    assert words == ["Created", "Progressing", "Available", "Updated", "Available", "Degraded"]
    assert all(after in DRAWN[before] for before, after in pairwise(words))


def test_pod_state_machine(live: Live) -> None:
    """Pending → Running → Succeeded, Pending → Failed, Running → CrashLoopBackOff."""
    image = live.pods("backend")[0]["spec"]["containers"][0]["image"]
    programs = {
        "good": ("Never", "import time; time.sleep(3)"),
        "bad": ("Never", "import time; time.sleep(3); raise SystemExit(1)"),
        "loop": ("Always", "import time; time.sleep(2); raise SystemExit(1)"),
    }
    with pod_phases(live.namespace, list(programs)) as seen:
        try:
            for name, (restart, program) in programs.items():
                live.apply(POD.format(name=name, restart=restart, image=image, program=program))
            ends = {"good": PodPhase.SUCCEEDED, "bad": PodPhase.FAILED, "loop": PodPhase.CRASH_LOOP}
            for name, end in ends.items():
                eventually(lambda name=name, end=end: end in seen[name], f"{name}: {end}")  # type: ignore[misc]
        finally:
            live.kubectl("delete", "pod", *programs, "--wait=true", "--grace-period=0")
    waiting, running = {PodPhase.PENDING, PodPhase.CREATING}, {PodPhase.RUNNING, PodPhase.READY}
    for name, end in ends.items():
        before = seen[name][: seen[name].index(end)]
        assert set(before) & waiting and set(before) & running, (name, seen[name])
        assert set(before) <= waiting | running | {PodPhase.FAILED}, (name, seen[name])


def test_a_failed_update_is_failed_and_the_version_before_serves(live: Live) -> None:
    broken = "releases.todo-chatbot.values.backend.command=[nowhere]"
    done, document = live.app.run_json("up", "--set", broken)
    assert done.returncode == 5, done.stderr[-2000:]
    assert document["errors"][0]["code"]
    assert request("GET", f"{live.url}/api/health").status == 200
    history = json.loads(live.project.helm("history", "todo-chatbot", "-n", live.namespace, "-o", "json"))
    assert "failed" in {one["status"] for one in history}
    assert history[-1]["status"] == "deployed"


def test_other_content_gets_the_next_version_and_the_way_back_has_the_first(live: Live) -> None:
    before = live.tags(live.first)
    with live.project.edited("app/backend/todo_backend/__init__.py", lambda text: text + "\n# another content\n"):
        _, changed = live.app.data("up")
    after = live.tags(changed)
    assert after == before | {"backend": after["backend"]}
    assert re.fullmatch(r"1\.0\.\d+", after["backend"]) and after["backend"] != before["backend"]
    assert live.pods("backend")[0]["spec"]["containers"][0]["image"].endswith(f":{after['backend']}")
    live.app.data("rollback")
    assert live.pods("backend")[-1]["spec"]["containers"][0]["image"].endswith(f":{before['backend']}")
    history = json.loads(live.project.helm("history", "todo-chatbot", "-n", live.namespace, "-o", "json"))
    assert history[-1]["status"] == "deployed"


def test_a_changed_config_map_restarts_what_reads_it_and_takes_effect(live: Live) -> None:
    on = "releases.todo-chatbot.values.global.configData.todo-chatbot-config.ENABLE_ANALYTICS='true'"
    live.app.data("up", "--set", on)
    ann = Browser(live.url)
    ann.login("ann@example.com", "correct horse battery")
    ann.tasks()
    usage = ann.ask("GET", "/api/usage")
    assert usage["enabled"] is True
    assert "GET /tasks" in {one["route"] for one in usage["counts"]}


def test_the_volume_outlives_its_pod(live: Live) -> None:
    """What the backend counted stands in its volume, and another pod goes on counting there."""
    (pod,) = live.pods("backend")
    assert "usage.db" in live.kubectl("exec", pod["metadata"]["name"], "--", "ls", "/data")
    live.kubectl("delete", "pod", pod["metadata"]["name"])
    eventually(lambda: request("GET", f"{live.url}/api/ready").status == 200, "another backend")
    (other,) = live.pods("backend")
    assert other["metadata"]["uid"] != pod["metadata"]["uid"]
    ann = Browser(live.url)
    ann.login("ann@example.com", "correct horse battery")
    routes = {one["route"] for one in ann.ask("GET", "/api/usage")["counts"]}
    assert routes >= {"GET /tasks", "GET /usage"}, "only the pod before was asked for these"


def test_images_are_said_to_be_scanned_or_not(live: Live) -> None:
    assert {one["scan"] for one in live.first["images"]} <= {"not scanned", "no critical"}


def test_nothing_is_left_behind(live: Live) -> None:
    live.app.data("down", "--volumes", "--yes")
    assert left_behind(live.app, live.before) == set()
