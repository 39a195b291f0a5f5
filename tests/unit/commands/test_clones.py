"""A second clone of a deployed application: what differs is shown first, and `secrets pull` takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.commands import clones
from deployer.commands.clones import values_to_pull
from deployer.commands.connection import open_running
from deployer.commands.plan import planned_steps, refusal
from deployer.config.load import load_spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.reading import read_json
from deployer.core.steps import drive
from deployer.sources.dotenv import read_env
from deployer.sources.env_files import set_values
from tests.fakes.shop import Shop

HASHED = "naming: hashed, keys: {TOKEN: {}, SIGNING: {kind: generated}, URL: {default: 'db://${TOKEN|url}@db'}}"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def deploy(shop: Shop, token: str, **options: object) -> None:
    drive(shop.up("1", env={"TOKEN": token}, **options), lambda event: None)


def secrets(shop: Shop) -> str:
    return json.dumps(shop.kube.list("Secret"), default=str)


def second_clone(shop: Shop, tmp_path: Path) -> None:
    """The same application from another folder."""
    clone = tmp_path / "clone"
    shop.root.rename(clone)
    shop.root = clone


def test_a_clone_that_deployed_may_change_its_values(shop: Shop) -> None:
    deploy(shop, "one")
    deploy(shop, "two")
    assert shop.token == "two"


def test_a_new_clone_with_other_values_is_refused_before_anything_changes(shop: Shop, tmp_path: Path) -> None:
    deploy(shop, "one")
    second_clone(shop, tmp_path)
    before = secrets(shop)
    with pytest.raises(DeployError) as refused:
        deploy(shop, "two")
    (problem,) = refused.value.problems
    assert (problem.code, refused.value.exit_code) == ("SECRETS_DIFFER", ExitCode.REFUSED)
    assert "app: TOKEN" in problem.detail and "two" not in problem.detail
    assert secrets(shop) == before and shop.token == "one"


def test_plan_says_what_up_would_refuse(shop: Shop, tmp_path: Path) -> None:
    deploy(shop, "one")
    second_clone(shop, tmp_path)

    def refused(token: str) -> int:
        steps = planned_steps(load_spec(shop.root / "todo-deploy.yaml"), {"TOKEN": token}, shop.here)
        assert token == "one" or "other values" in next(one.reason for one in steps if one.kind == "clone")
        return refusal(steps)

    assert (refused("one"), refused("two")) == (0, ExitCode.REFUSED)


def test_a_new_clone_with_the_same_values_deploys_and_is_known_then(shop: Shop, tmp_path: Path) -> None:
    deploy(shop, "one")
    second_clone(shop, tmp_path)
    deploy(shop, "one")
    deploy(shop, "two")
    assert shop.token == "two"


def test_replacing_is_possible_when_asked_for(shop: Shop, tmp_path: Path) -> None:
    deploy(shop, "one")
    second_clone(shop, tmp_path)
    deploy(shop, "two", replace_secrets=True)
    assert shop.token == "two"


def test_the_memory_of_an_older_version_makes_its_clone_known(shop: Shop) -> None:
    deploy(shop, "one")
    for path in shop.here.state_dir.rglob("clones.json"):
        path.unlink()
    deploy(shop, "two")
    assert shop.token == "two"


def test_what_is_known_of_clones_is_read_once(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(shop, "one")
    second_clone(shop, tmp_path)
    read: list[Path] = []

    def once(path: Path, kind: Any) -> object:
        read.append(path)
        return read_json(path, kind)

    monkeypatch.setattr(clones, "read_json", once)
    deploy(shop, "one")
    assert [path.name for path in read] == ["clones.json"]


def test_values_to_pull_are_those_that_differ(shop: Shop) -> None:
    deploy(shop, "one")
    opened = open_running(load_spec(shop.root / "todo-deploy.yaml"), shop.here)
    assert values_to_pull(opened, {"TOKEN": "two"}) == {"TOKEN": "one"}
    assert values_to_pull(opened, {"TOKEN": "one"}) == {}


def test_of_hashed_secrets_the_newest_copy_counts_and_defaults_are_not_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(path.read_text().replace("naming: stable, keys: {TOKEN: {}}", HASHED))
    env = {"TOKEN": "a b", "SIGNING": "s1"}
    drive(shop.up("1", env=env), lambda event: None)
    opened = open_running(load_spec(path), shop.here)
    assert values_to_pull(opened, env) == {}
    assert values_to_pull(opened, {"TOKEN": "other"}) == env


@pytest.mark.parametrize(
    "value", ["plain", "a b", "it's", 'q"$x\\', "two\nlines", "#x", "", "ü ☃", "a=b==", "'\"$`\\n"]
)
def test_set_values_writes_what_is_read_back(tmp_path: Path, value: str) -> None:
    path = tmp_path / ".env"
    path.write_text("# keep\nA=1\nKEY=old # comment\nB=2\n")
    kept = set_values(path, {"KEY": value, "NEW": value})
    env = read_env(path, ".env")
    assert (env.value("KEY"), env.value("NEW"), env.value("A"), env.value("B")) == (value, value, "1", "2")
    assert path.read_text().startswith("# keep\nA=1\n") and kept is not None and "KEY=old" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600


def test_set_values_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert set_values(path, {"KEY": "v"}) is None
    assert path.read_text() == "KEY=v\n" and path.stat().st_mode & 0o777 == 0o600
