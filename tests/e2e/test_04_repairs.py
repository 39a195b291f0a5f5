"""What `up` puts right: exactly what is missing, and nothing else."""

from __future__ import annotations

from deployer.errors import ExitCode
from tests.cluster import PROFILE
from tests.e2e.browser import Browser, request
from tests.e2e.project import CURRENT_CONTEXT, Project, tell


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


def test_a_stopped_cluster_starts_with_everything_in_place(app: Project, urls: dict[str, str], ann: Browser) -> None:
    tasks = ann.tasks()
    assert tasks
    volume = app.object("pvc", "data-database-0")["metadata"]["uid"]
    app.minikube("stop")
    stopped = app.json("status", exit_code=ExitCode.MACHINE)
    assert stopped["data"]["cluster"]["phase"] == "Stopped"
    assert stopped["errors"][0]["code"] == "CLUSTER_STOPPED"
    data = app.up()
    tell("up after `minikube stop`", f"{data['seconds']} s")
    for one in data["stages"]:
        tell(f"  stage {one['name']}", f"{one['seconds']:.2f} s")
    assert data["changed"] is True
    assert next(one for one in data["stages"] if one["name"] == "cluster")["changed"] is True
    assert not [one for one in data["images"] if one["built"]]
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    for one in data["urls"]:
        assert request("GET", one["url"]).status in (200, 302, 307)
    assert ann.tasks() == tasks
    assert app.object("pvc", "data-database-0")["metadata"]["uid"] == volume
    assert app.current_context() == CURRENT_CONTEXT
    assert app.json("status")["data"]["cluster"]["context"] == PROFILE
    assert app.up()["changed"] is False
