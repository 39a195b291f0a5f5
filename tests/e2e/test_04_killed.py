"""One kill of the many that `make chaos` tries: `up` dies with its helm, and the next one ends what it began."""

from __future__ import annotations

from secrets import token_urlsafe

from bench.chaos import checks
from bench.chaos.victim import Victim
from tests.e2e.browser import Browser
from tests.e2e.project import Project, tell

SOURCE = "app/backend/todo_backend/routes/health.py"


def test_an_up_that_is_killed_with_its_helm_is_ended_by_the_next(app: Project, ann: Browser) -> None:
    ann.add("written before the kill")
    tasks = ann.tasks()
    keys = {key: app.env_value(key) for key in ("POSTGRES_PASSWORD", "BETTER_AUTH_SECRET")}
    with (app.root / SOURCE).open("a") as file:
        file.write(f"\n# what the killed run was to bring: {token_urlsafe(6)}\n")
    mark = token_urlsafe(12)
    no_pods = checks.no_pods(app)
    run = Victim(app, ("up", "--hold", "1s"), mark)
    assert run.await_stage("releases", 120), run.document.get("errors")
    assert run.await_program("helm", 20), "helm was never seen at work"
    programs = run.kill(children=True)
    assert run.open_stages == ("releases",)
    assert "helm" in programs
    assert checks.files(app, keys) == []

    following = Victim(app, ("up", "--hold", "1s"), token_urlsafe(12))
    assert following.wait(300) == 0, following.document.get("errors")
    tell("the next `up` after a kill", f"{following.seconds:.1f} s")
    data = following.document["data"]
    assert checks.addresses(data["urls"]) == []
    assert checks.data(ann, tasks) == []
    assert checks.cluster(app) == []
    assert checks.leaks(mark) == []
    assert checks.builds(app, no_pods) == []
    assert checks.files(app, keys) == []
    assert checks.leftovers(app) == []
    refs = {one["name"]: one["ref"] for one in data["images"]}
    backend = app.object("deploy", "backend")["spec"]["template"]["spec"]["containers"][0]
    assert backend["image"] == refs["backend"]
    assert app.up()["changed"] is False
