"""The spec as the options of a command leave it."""

from __future__ import annotations

from pathlib import Path

from deployer.cli.options import Session
from deployer.cli.running import read_spec

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
env: {example: null}
registry: {address: "team.example.com/shop", push: "localhost:5000/shop"}
releases:
  shop: {chart: chart}
"""


def test_a_registry_of_the_command_line_is_not_pushed_to_by_the_way_of_the_specs(tmp_path: Path) -> None:
    path = tmp_path / "todo-deploy.yaml"
    path.write_text(SPEC)
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: shop\nversion: 0.1.0\n")
    spec = read_spec(Session(file=path, registry="else.example.com/shop")).spec
    assert (spec.delivery, spec.registry.address, spec.registry.push) == ("registry", "else.example.com/shop", None)
    pushed = Session(file=path, registry="else.example.com/shop", overrides=("registry.push=localhost:5001/shop",))
    assert read_spec(pushed).spec.registry.push == "localhost:5001/shop"
