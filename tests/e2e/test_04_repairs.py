"""What `up` puts right: exactly what is missing, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from deployer.config.spec import Cluster
from deployer.core.steps import SystemClock, drive
from deployer.forwarding import Forward, PortMapping, ensure, known, stop
from tests.cluster import PROFILE
from tests.e2e.browser import Browser, request
from tests.e2e.project import Project, command_lines, read_yaml, tell


def test_a_deleted_image_is_built_again(app: Project) -> None:
    pods, revision = app.pods(), app.revision()
    ref = app.object("deploy", "frontend-chatbot")["spec"]["template"]["spec"]["containers"][0]["image"]
    app.in_node("docker", "rmi", "--force", ref)
    data = app.up()
    assert {one["name"] for one in data["images"] if one["built"]} == {"frontend-chatbot"}
    image = next(one for one in data["images"] if one["name"] == "frontend-chatbot")
    assert image["ref"] == ref
    assert "gone" in image["reason"]
    assert app.in_node("docker", "image", "inspect", "--format", "{{.Id}}", ref)
    assert app.pods() == pods
    assert app.revision() == revision
    tell("a deleted image", f"{data['seconds']} s")


def test_a_deleted_deployment_comes_back(app: Project) -> None:
    pods = app.pods()
    uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in app.objects("deploy,svc,sts")}
    app.kubectl("delete", "deploy", "frontend-chatbot", "--namespace", "default")
    data = app.up()
    assert data["changed"] is True
    assert not [one for one in data["images"] if one["built"]]
    assert app.rolled(pods) == {"frontend-chatbot"}
    now = {one["metadata"]["name"]: one["metadata"]["uid"] for one in app.objects("deploy,svc,sts")}
    assert {name for name in now if now[name] != uids[name]} == {"frontend-chatbot"}
    tell("a deleted Deployment", f"{data['seconds']} s")


def test_a_deleted_and_a_changed_secret_come_back(app: Project) -> None:
    pods, before = app.pods(), app.object("secret", "app-secrets")["data"]
    app.kubectl("delete", "secret", "app-secrets", "--namespace", "default")
    assert app.up()["changed"] is True
    assert app.object("secret", "app-secrets")["data"] == before
    app.kubectl(
        "patch", "secret", "app-secrets", "--namespace", "default", "-p", '{"data": {"OPENAI_API_KEY": "eA=="}}'
    )
    assert app.up()["changed"] is True
    assert app.object("secret", "app-secrets")["data"] == before
    assert app.pods() == pods, "the values that the pods have are those of the Secret: nothing needs to roll"


def test_a_kubeconfig_that_does_not_know_the_cluster(app: Project, tmp_path: Path) -> None:
    """As after another KUBECONFIG was set, or the file was lost."""
    fresh = tmp_path / "kubeconfig"
    data = app.up(env={"KUBECONFIG": str(fresh)})
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    document = read_yaml(fresh)
    assert [one["name"] for one in document["contexts"]] == [PROFILE]
    assert not document.get("current-context"), "it was nobody's choice"


def test_a_killed_database_serves_its_data_again(app: Project, ann: Browser) -> None:
    """As after a reset of the machine: nothing of it had the time to put its house in order."""
    tasks = ann.tasks()
    assert tasks
    status = app.object("pod", "database-0")["status"]["containerStatuses"][0]
    app.in_node("docker", "kill", "--signal", "KILL", status["containerID"].removeprefix("docker://"))
    deadline = time.monotonic() + 30  # an `up` before the kubelet has seen it finds everything as it was
    while app.object("pod", "database-0")["status"]["containerStatuses"][0] == status:
        assert time.monotonic() < deadline, "the kubelet never saw it"
        time.sleep(0.1)
    data = app.up()
    assert next(one for one in data["workloads"] if one["kind"] == "StatefulSet")["restarts"] == 1
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    deadline = time.monotonic() + 10  # kube-proxy sends to a server a moment after it is ready; the hold was short
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            ann.tasks()
            break
        time.sleep(0.2)
    assert ann.tasks() == tasks
    tell("a killed database", f"{data['seconds']} s")


def test_a_forward_to_the_cluster_comes_back_when_it_is_killed(app: Project, tmp_path: Path) -> None:
    """What serves the URLs where the node cannot be reached; `make more` has more."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    mapping = PortMapping("default", "frontend-web-service", "", port)
    wanted = Forward(tmp_path / "deployment", app.kubeconfig, Cluster(name=PROFILE), (mapping,))
    drive(ensure(wanted, {**os.environ, **app.environment}, SystemClock()), lambda _: None)
    try:
        address = f"http://127.0.0.1:{port}/health"
        assert request("GET", address).status == 200
        supervisor = known(wanted.folder).pid
        (relay,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        os.kill(int(relay), signal.SIGKILL)
        deadline, status = time.monotonic() + 20, 0
        while status != 200 and time.monotonic() < deadline:
            with suppress(OSError, HTTPException):
                status = request("GET", address).status
        assert status == 200
    finally:
        assert stop(wanted.folder)
    assert not [line for line in command_lines() if str(wanted.folder) in line]
