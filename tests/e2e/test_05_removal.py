"""`down`: what it leaves, what it takes, what it asks first; and what stands in the way of the next `up`."""

from __future__ import annotations

from deployer.core.errors import ExitCode
from tests.e2e.browser import Browser
from tests.e2e.project import APPLICATION, RELEASE, Project, tell

RECORD = f"todo-deploy.{APPLICATION}"


def test_down_keeps_the_data_and_the_next_up_serves_it(app: Project, ann: Browser) -> None:
    """Meanwhile somebody takes our port, and the database's password becomes one that needs escaping in a URL."""
    tasks = ann.tasks()
    assert tasks
    volume = app.object("pvc", "data-database-0")["metadata"]["uid"]
    data = app.json("down")["data"]
    assert data == {"changed": True, "releases": 1, "secrets": data["secrets"], "volumes": 0, "cluster": False}
    assert app.objects("deploy,sts,pods") == []
    assert [one["metadata"]["name"] for one in app.objects("svc,configmap")] == ["kubernetes", "kube-root-ca.crt"]
    assert [one["metadata"]["name"] for one in app.objects("secret")] == [RECORD]
    assert app.object("pvc", "data-database-0")["metadata"]["uid"] == volume
    assert app.json("down")["data"]["changed"] is False
    assert [one["code"] for one in app.json("status", exit_code=ExitCode.MACHINE)["errors"]] == ["NOT_DEPLOYED"]

    app.kubectl("create", "service", "nodeport", "squatter", "--tcp=80", "--node-port=30000", "--namespace", "default")
    try:
        failed = app.json("up", exit_code=ExitCode.INPUT)
    finally:
        app.kubectl("delete", "service", "squatter", "--namespace", "default")
    assert [one["code"] for one in failed["errors"]] == ["NODE_PORT_TAKEN"]
    message = failed["errors"][0]["title"] + failed["errors"][0]["detail"]
    assert "30000" in message
    assert app.object("pvc", "data-database-0")["metadata"]["uid"] == volume

    app.set_env("POSTGRES_PASSWORD", "p@ss/w:rd#%20?&x=1")
    data = app.up()
    tell("up after down", f"{data['seconds']} s")
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    assert ann.tasks() == tasks
    assert app.object("pvc", "data-database-0")["metadata"]["uid"] == volume


def test_down_with_volumes_asks_first_and_then_leaves_nothing(
    app: Project, urls: dict[str, str], ann: Browser, password: tuple[str, str]
) -> None:
    pods = app.pods()
    volume = app.object("pvc", "data-database-0")["spec"]["volumeName"]
    for words in (["down", "--volumes"], ["down", "--cluster"]):
        refusal = app.json(*words, exit_code=ExitCode.REFUSED)
        assert refusal["errors"][0]["code"] == "CONFIRMATION"
        assert "--yes" in " ".join(refusal["errors"][0]["hints"])
        assert app.run(*words).returncode == ExitCode.REFUSED
    assert app.pods() == pods
    assert ann.tasks()
    assert app.revision() > 0

    done = app.json("down", "--volumes", "--yes")["data"]
    assert done.items() >= {"changed": True, "releases": 1, "volumes": 1, "cluster": False}.items()
    left = {(one["kind"], one["metadata"]["name"]) for one in app.objects("secret,configmap,deploy,sts,svc,pvc,pods")}
    assert left == {("Service", "kubernetes"), ("ConfigMap", "kube-root-ca.crt")}
    assert volume not in app.kubectl("get", "pv", "-o", "name")
    folder = "/tmp/hostpath-provisioner/default"  # where Minikube's own provisioner keeps them in the node
    assert app.in_node("sh", "-c", f"ls {folder} 2>/dev/null || true").split() == []
    assert app.kubectl("get", "secrets", "-A", "-l", f"owner=helm,name={RELEASE}", "-o", "name") == ""
    assert app.env_file.exists(), "the user's own file is never removed"
    assert app.json("down", "--volumes", "--yes")["data"]["changed"] is False

    run = app.start("up", "-o", "json", "--progress", "plain")
    run.wait_for_line("rollout started")
    assert run.interrupt() == ExitCode.INTERRUPTED
    assert run.survivors() == []
    data = app.up()
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    fresh = Browser(urls["web"])
    fresh.ask("POST", "/session/login", {"email": password[0], "password": password[1]}, expect=401)
    fresh.register(*password)
    assert fresh.tasks() == {}
