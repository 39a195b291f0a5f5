"""A cluster that was stopped: nothing else may be at it meanwhile, so this comes last."""

from __future__ import annotations

from deployer.core.errors import ExitCode
from tests.cluster import PROFILE, alone
from tests.e2e.browser import Browser, request
from tests.e2e.project import CURRENT_CONTEXT, Project, tell


def test_a_stopped_cluster_starts_with_everything_in_place(app: Project, urls: dict[str, str]) -> None:
    carol = Browser(urls["web"])
    carol.register("carol@example.com", "a third horse, a third battery")
    carol.add("feed the horses")
    tasks = carol.tasks()
    assert tasks
    volume = app.object("pvc", "data-database-0")["metadata"]["uid"]
    with alone():
        app.minikube("stop")
        stopped = app.json("status", exit_code=ExitCode.MACHINE)
        data = app.up()
    assert stopped["data"]["cluster"]["phase"] == "Stopped"
    assert stopped["errors"][0]["code"] == "CLUSTER_STOPPED"
    tell("up after `minikube stop`", f"{data['seconds']} s")
    for one in data["stages"]:
        tell(f"  stage {one['name']}", f"{one['seconds']:.2f} s")
    assert data["changed"] is True
    assert next(one for one in data["stages"] if one["name"] == "cluster")["changed"] is True
    assert not [one for one in data["images"] if one["built"]]
    assert {one["phase"] for one in data["workloads"]} == {"Available"}
    for one in data["urls"]:
        assert request("GET", one["url"]).status in (200, 302, 307)
    assert carol.tasks() == tasks
    assert app.object("pvc", "data-database-0")["metadata"]["uid"] == volume
    assert app.current_context() == CURRENT_CONTEXT
    assert app.json("status")["data"]["cluster"]["context"] == PROFILE
    assert app.up()["changed"] is False
