"""004-local-k8s-deployment on the real cluster: Ingress, autoscaler, NetworkPolicies, an update without a gap."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import CompletedCli, ensure_test_cluster
from tests.e2e.browser import Answer, request
from tests.e2e.project import Project, make_project, one_document

pytestmark = [pytest.mark.cluster, pytest.mark.addons]

SPEC = "topologies/004-local-k8s-deployment.yaml"
NAMESPACE = "todo-local"
HOST = "todo.local"
# Only how soon it scales down is shortened: by default it waits five minutes.
SOON = "releases.todo.values.backend.autoscaling.behavior.scaleDown.stabilizationWindowSeconds=15"
# The load consists of log-ins, because they cost CPU; the backend's limits on them must let it through.
UNLIMITED = [f"releases.todo.values.backend.env.ATTEMPTS_PER_{who}=100000" for who in ("ADDRESS", "ACCOUNT")]
_LOAD_SECONDS = 75
_SCALED_SECONDS = 240
# A machine that does other things too may be slow to answer; what is counted is a request that is lost.
_ANSWER_SECONDS = 60.0

# Bounded: five log-ins a second, each some 30 ms of CPU, from one pod, which ends by itself.
LOAD = """
import http.client, time
until, served = time.monotonic() + {seconds}, 0
credentials = '{{"email": "nobody@example.com", "password": "not it at all"}}'
while time.monotonic() < until:
    begun = time.monotonic()
    connection = http.client.HTTPConnection("backend-service", 80, timeout=30)
    connection.request("POST", "/auth/login", credentials, {{"Content-Type": "application/json"}})
    served += connection.getresponse().status == 401
    connection.close()
    time.sleep(max(0.0, 0.2 - (time.monotonic() - begun)))
print("answered", served)
"""


class Local:
    """The topology in a copy of the repository, deployed with the profile for small machines."""

    def __init__(self, project: Project, settings: tuple[str, ...] = ()) -> None:
        self.project = project
        sets = [word for value in (SOON, *UNLIMITED) for word in ("--set", value)]
        self.settings = ("-f", SPEC, "--profile", "small", *sets, *settings)
        self.node = ""

    def tried(self, *words: str) -> CompletedCli:
        """`todo-deploy` ran to its end with the topology."""
        return self.project.run(*words, *self.settings, "-o", "json", timeout=1800)

    def run(self, *words: str) -> Any:
        """The document of a command that ended well."""
        done = self.tried(*words)
        document = one_document(done.stdout)
        assert done.returncode == 0, f"{document['errors']}\n{done.stderr[-4000:]}"
        return document["data"]

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Answer:
        """The answer of the Ingress controller at the node, by the documented host's name."""
        words = {"Host": HOST, **(headers or {})}
        return request(method, f"http://{self.node}{path}", body, headers=words, timeout=_ANSWER_SECONDS)

    def kubectl(self, *words: str) -> str:
        return self.project.kubectl("--namespace", NAMESPACE, *words)

    def object(self, kind: str, name: str) -> Any:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    ensure_test_cluster()
    made = Local(make_project(tmp_path_factory.mktemp("topology-004")))
    made.run("up", "--progress", "plain", "--hold", "1s")
    made.node = made.run("status")["cluster"]["nodeAddress"]
    yield made
    made.run("down", "--volumes", "--yes")


def test_the_host_answers_for_the_frontend_and_for_the_api(local: Local) -> None:
    page, api = local.ask("GET", "/"), local.ask("GET", "/api/health")
    assert page.status in (200, 307)
    assert "X-Frame-Options" in page.headers, "the frontend's own header"
    assert (api.status, json.loads(api.body)) == (200, {"status": "ok"})
    assert "X-Frame-Options" not in api.headers, "not passed on by the frontend"
    assert local.ask("GET", "/apiary").headers.get("X-Frame-Options"), "no path of the API"
    assert request("GET", f"http://{local.node}/", headers={"Host": "elsewhere.local"}).status == 404


def test_user_and_task_are_as_documented(local: Local) -> None:
    credentials = {"email": f"ann-{time.time_ns()}@example.com", "password": "correct horse battery"}
    made = local.ask("POST", "/api/auth/register", credentials)
    assert made.status == 201
    user = json.loads(made.body)["user"]
    assert set(user) == {"id", "email", "is_active", "created_at", "updated_at"}, "and never the password's hash"
    assert user["is_active"] is True
    assert local.ask("POST", "/api/auth/register", credentials).status == 409, "unique"
    token = {"Authorization": f"Bearer {json.loads(made.body)['access_token']}"}
    task = json.loads(local.ask("POST", "/api/tasks", {"title": "water the plants"}, token).body)
    assert set(task) == {"id", "title", "description", "completed", "created_at", "updated_at", "user_id"}
    assert (task["completed"], task["user_id"]) == (False, user["id"])
    assert local.ask("POST", "/api/tasks", {"title": "x" * 256}, token).status == 422
    assert local.ask("POST", "/api/tasks", {"title": "x", "description": "y" * 1001}, token).status == 422


def test_whether_policies_are_enforced_is_reported_and_holds(local: Local) -> None:
    policies = local.run("status")["networkPolicies"]
    code = "import socket; socket.create_connection(('database-service', 5432), 5)"
    image = local.object("deployment", "backend")["spec"]["template"]["spec"]["containers"][0]["image"]
    local.kubectl("run", "stranger", f"--image={image}", "--restart=Never", "--command", "--", "python", "-c", code)
    try:
        phase = eventually(lambda: _ended(local, "stranger"), 60)
        assert policies["enforced"] in (True, False), "Minikube's own network is known"
        assert phase == ("Failed" if policies["enforced"] else "Succeeded")
    finally:
        local.kubectl("delete", "pod", "stranger", "--now")


def test_an_update_loses_no_request(local: Local) -> None:
    over, wrong, served = threading.Event(), [], [0]

    def ask() -> None:
        while not over.is_set():
            for path in ("/api/health", "/health"):
                try:
                    answer = local.ask("GET", path)
                    served[0] += 1
                    if answer.status != 200:
                        wrong.append(f"{time.time():.1f} {path}: {answer.status} {answer.body[:80]!r}")
                except OSError as error:
                    wrong.append(f"{time.time():.1f} {path}: {error!r}")
            time.sleep(0.05)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        local.run("restart", "backend", "frontend")
    finally:
        over.set()
        asking.join()
    assert not wrong, wrong
    assert served[0] > 50


def test_the_autoscaler_goes_up_under_load_and_down_again(local: Local) -> None:
    eventually(lambda: _metrics(local), 120)
    eventually(lambda: _replicas(local) == 2, _SCALED_SECONDS)
    image = local.object("deployment", "backend")["spec"]["template"]["spec"]["containers"][0]["image"]
    code = LOAD.format(seconds=_LOAD_SECONDS)
    local.kubectl("run", "load", f"--image={image}", "--restart=Never", "--command", "--", "python", "-c", code)
    try:
        most = eventually(lambda: _more_than(local, 2), _SCALED_SECONDS)
        assert 2 < most <= 10
        eventually(lambda: _ended(local, "load") == "Succeeded", _LOAD_SECONDS + 60)
        assert int(local.kubectl("logs", "load").split()[-1]) > _LOAD_SECONDS
    finally:
        local.kubectl("delete", "pod", "load", "--now")
    eventually(lambda: _replicas(local) == 2, _SCALED_SECONDS)
    scaler = local.object("horizontalpodautoscaler", "backend-hpa")
    assert isinstance(scaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"], int)


def eventually(look: Any, seconds: float) -> Any:
    """What `look` finds, which is asked every second."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(1)
    return found


def _ended(local: Local, pod: str) -> str | None:
    phase = str(local.object("pod", pod)["status"]["phase"])
    return phase if phase in ("Succeeded", "Failed") else None


def _metrics(local: Local) -> bool:
    conditions = local.object("horizontalpodautoscaler", "backend-hpa")["status"].get("conditions") or ()
    return any(one["type"] == "ScalingActive" and one["status"] == "True" for one in conditions)


def _replicas(local: Local) -> int:
    return int(local.object("deployment", "backend")["status"].get("readyReplicas") or 0)


def _more_than(local: Local, number: int) -> int:
    ready = _replicas(local)
    return ready if ready > number else 0
