"""What the application beside ours has is not taken from it; longer than `make test` can wait for: `make more`."""

from __future__ import annotations

from bench.topologies.application import Application
from deployer.core.errors import ExitCode
from tests.e2e.project import Project


def test_what_the_other_one_has_is_refused_before_anything_is_built(app: Project, sixth: Application) -> None:
    pods = app.pods()
    sixth.data("up")
    port = ("--set", "releases.desk.values.nodePort=30000", "--set", "urls.front-desk.nodePort=30000")
    name = ("--set", 'namespace="default"', "--set", "releases.todo-app.chart=deploy/desk")
    source = sixth.source("desk")
    source.write_bytes(source.read_bytes() + b"\n")
    try:
        done, document = sixth.run_json("up", *port)
        assert [one["code"] for one in document["errors"]] == ["NODE_PORT_TAKEN"]
        assert "service default/frontend-web-service of release `todo-app`" in document["errors"][0]["title"]
        assert done.returncode == ExitCode.INPUT
        done, document = sixth.run_json("up", *name)
        assert [one["code"] for one in document["errors"]] == ["RELEASE_TAKEN"]
        assert "belongs to application `todo`" in document["errors"][0]["title"]
        assert done.returncode == ExitCode.REFUSED
        assert document["data"]["images"] == []
    finally:
        source.write_bytes(source.read_bytes()[:-1])
    assert sixth.data("up")[1]["changed"] is False
    assert app.pods() == pods
    assert app.json("down")["data"]["releases"] == 1
    assert sixth.data("up")[1]["changed"] is False, "a `down` of the one concerns nothing of the other"
    assert app.up()["changed"] is True
