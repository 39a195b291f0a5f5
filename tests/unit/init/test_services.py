"""What a repository without a chart runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployer.config.load import load_spec
from deployer.core.errors import DeployError
from deployer.init.compose import compose
from deployer.init.find import find
from deployer.init.model import Service
from deployer.init.write import as_yaml
from tests.unit.init.test_find import CHART, tree

COMPOSE = """\
services:
  api:
    build: ./api
    expose: ["8000"]
    environment: {DEBUG: true, LEVEL: "${LEVEL:-info}", DB_PASSWORD: "${DB_PASSWORD}"}
    healthcheck: {test: "curl -f http://localhost:8000/healthz || exit 1"}
  front_end:
    build: {context: web, dockerfile: Dockerfile.prod, target: run, args: [V=1]}
    ports: ["127.0.0.1:3000:80/tcp"]
    env_file: .env
    environment: ["A=1", TOKEN]
    depends_on: {api: {condition: service_healthy}}
    command: nginx -g "daemon off;"
    volumes: [".:/src"]
  db:
    image: postgres:15
    volumes: ["data:/var/lib/postgresql/data"]
    ports: [{target: 5432, published: 5432}]
"""
FILES = {"docker-compose.yml": COMPOSE, "api/Dockerfile": "FROM x\n", "web/Dockerfile.prod": "FROM x\nARG V\n"}


def found(root: Path, files: dict[str, str]) -> dict[str, Service]:
    return {one.name: one for one in find(tree(root, files)).services}


def draft(root: Path) -> Any:
    """The document of the draft, which loads as a spec."""
    made = compose(find(root), (), {})
    (root / "todo-deploy.yaml").write_text(as_yaml(made, "Drafted."))
    return load_spec(root / "todo-deploy.yaml").document


def test_a_compose_file_says_what_runs(tmp_path: Path) -> None:
    made = found(tmp_path, FILES)
    api, front, db = made["api"], made["front-end"], made["db"]
    assert (api.port, api.published, api.health) == (8000, False, "/healthz")
    assert (api.env, api.keys) == ({"DEBUG": "true", "LEVEL": "info"}, ("DB_PASSWORD",))
    assert front.dockerfile is not None
    assert (front.dockerfile.path, front.dockerfile.context, front.dockerfile.target, front.dockerfile.given) == (
        "web/Dockerfile.prod", "web", "run", {"V": "1"}
    )  # fmt: skip
    assert (front.port, front.published, front.whole, front.keys, front.needs) == (80, True, True, ("TOKEN",), ("api",))
    assert front.command == ("nginx", "-g", "daemon off;") and front.remarks
    assert (db.dockerfile, db.image, db.port, db.volume) == (None, "postgres:15", 5432, "/var/lib/postgresql/data")


def test_services_become_releases_of_our_own_chart(tmp_path: Path) -> None:
    tree(tmp_path, {**FILES, ".env.example": "DB_PASSWORD=\nTOKEN=x\n"})
    made = draft(tmp_path)
    assert set(made["images"]) == {"api", "front-end"}
    assert {one["chart"] for one in made["releases"].values()} == {"builtin:component"}
    assert made["secrets"]["app-secrets"]["keys"] == {"DB_PASSWORD": {"kind": "generated"}, "TOKEN": {}}
    front, db = made["releases"]["front-end"], made["releases"]["db"]
    assert (front["values"]["service"], front["values"]["envFromSecrets"]) == ({"type": "NodePort"}, ["app-secrets"])
    assert front["needs"] == ["api"]
    assert (db["values"]["kind"], db["values"]["image"]) == ("StatefulSet", {"repository": "postgres", "tag": "15"})
    assert "service" not in db["values"], "nobody outside asks a database"
    assert set(made["urls"]) == {"front-end"}


def test_without_a_compose_file_each_dockerfile_is_a_service(tmp_path: Path) -> None:
    health = "FROM x\nEXPOSE 80\nHEALTHCHECK --interval=5s \\\n  CMD curl -f http://localhost/up || exit 1\n"
    made = found(tmp_path, {"web/Dockerfile": health, "job/Dockerfile": "FROM x\n"})
    assert (made["web"].port, made["web"].health, made["job"].port) == (80, "/up", None)
    document = draft(tmp_path)
    assert document["urls"] == {"web": {"service": "web", "path": "/up"}}
    assert document["releases"]["job"]["values"]["service"] == {"enabled": False}


def test_a_repository_with_a_chart_is_not_read_so(tmp_path: Path) -> None:
    assert found(tmp_path, {**FILES, "chart/Chart.yaml": CHART.format(name="a")}) == {}


def test_a_compose_file_that_is_no_yaml_is_refused_at_its_line(tmp_path: Path) -> None:
    tree(tmp_path, {"compose.yaml": "services:\n  a: [\n"})
    with pytest.raises(DeployError) as caught:
        find(tmp_path)
    assert caught.value.problems[0].code == "COMPOSE_YAML" and ":" in caught.value.problems[0].where


@pytest.mark.parametrize("text", ["services: []\n", "services: {a: 1, b: {}}\n", "x: 1\n", ""])
def test_a_compose_file_without_services_has_none(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, {"compose.yaml": text, "Dockerfile": "FROM x\n"}) == {}
