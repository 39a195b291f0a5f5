"""What a repository without a chart runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.config.load import load_spec
from deployer.core.errors import DeployError
from deployer.init.compose import compose
from deployer.init.find import find, nothing_found
from deployer.init.model import Mount, Service
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
    assert (api.env, api.keys) == ({"DEBUG": "true", "LEVEL": "info"}, {"DB_PASSWORD": "DB_PASSWORD"})
    assert front.dockerfile is not None
    assert (front.dockerfile.path, front.dockerfile.context, front.dockerfile.target, front.dockerfile.given) == (
        "web/Dockerfile.prod", "web", "run", {"V": "1"}
    )  # fmt: skip
    assert (front.port, front.published, front.whole, front.keys, front.needs) == (
        80, True, True, {"TOKEN": "TOKEN"}, ("api",)
    )  # fmt: skip
    assert front.command == ("nginx", "-g", "daemon off;") and front.remarks
    assert (db.dockerfile, db.image, db.port, db.volumes) == (
        None, "postgres:15", 5432, (Mount("data", "/var/lib/postgresql/data"),)
    )  # fmt: skip


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


def test_variables_are_filled_in_as_compose_does(tmp_path: Path) -> None:
    text = """\
x-db: &db {PASSWORD: "${DB_PASSWORD:?is needed}", NAME: shop}
services:
  api:
    image: ${REGISTRY:-example.com}/api:${TAG-1}
    environment: {<<: *db, URL: "postgres://shop:${DB_PASSWORD}@db/shop", LEVEL: "${LEVEL:-info}", COST: $$5, BAD: "${"}
    command: serve --level=${LEVEL:-info} --key ${KEY}
"""
    env = {".env.example": "DB_PASSWORD=\nLEVEL=debug\n"}
    api = found(tmp_path, {"compose.yaml": text, **env})["api"]
    assert api.image == "example.com/api:1"
    assert api.keys == {"PASSWORD": "DB_PASSWORD", "DB_PASSWORD": "DB_PASSWORD", "LEVEL": "LEVEL", "KEY": "KEY"}
    assert api.env == {"NAME": "shop", "URL": "postgres://shop:$(DB_PASSWORD)@db/shop", "COST": "$5", "BAD": "${"}
    assert api.command == ("serve", "--level=$(LEVEL)", "--key", "$(KEY)")


def test_services_of_a_profile_are_left_out(tmp_path: Path) -> None:
    text = "services:\n  a: {image: x, depends_on: [tools]}\n  tools: {image: y, profiles: [debug]}\n"
    made = found(tmp_path, {"compose.yaml": text})
    assert list(made) == ["a"] and made["a"].needs == () and "profile" in made["a"].remarks[0]


def test_a_port_that_nobody_publishes_is_the_images_or_the_one_that_others_ask(tmp_path: Path) -> None:
    text = """\
services:
  web: {build: web, environment: [API=http://my_api:4000/v1, "CACHE=cache_1", LIST=my_api_2:1]}
  my_api: {build: api}
  cache: {image: redis:7, container_name: cache_1}
  db: {build: db}
  none: {image: thing}
"""
    dockerfiles = {
        "web/Dockerfile": "FROM x\n",
        "api/Dockerfile": "FROM x\n",
        "db/Dockerfile": "FROM y AS z\nFROM postgres:15\n",
    }
    made = found(tmp_path, {"compose.yaml": text, **dockerfiles})
    assert {name: one.port for name, one in made.items()} == {
        "web": None, "my-api": 4000, "cache": 6379, "db": 5432, "none": None
    }  # fmt: skip
    assert made["web"].env == {"API": "http://my-api:4000/v1", "CACHE": "cache", "LIST": "my_api_2:1"}


def test_an_env_file_of_the_repository_gives_its_values_but_no_secrets(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: x
    env_file: [.env, {path: conf/a.env}]
    environment: {B: c}
  b: {image: y, env_file: .env.local}
"""
    made = found(tmp_path, {"compose.yaml": text, "conf/a.env": "A=1\nB=2\nTOKEN=abc\n", ".env.example": "C=\n"})
    a, b = made["a"], made["b"]
    assert (a.env, a.keys, a.whole) == ({"A": "1", "B": "c"}, {"TOKEN": "TOKEN"}, True) and "abc" not in str(a)
    assert b.whole and len(a.remarks) == 1
    assert draft(tmp_path)["secrets"]["app-secrets"]["keys"]["C"] == {"kind": "optional"}, "nothing names it"


VOLUMES = """\
services:
  web:
    image: x
    depends_on: [worker]
    volumes: [files:/data/files, "thumbs:/data/thumbs:ro", /app/node_modules]
  worker:
    image: y
    volumes: [{type: volume, source: files, target: /in, read_only: true}, thumbs:/out, {type: tmpfs, target: /x}]
  db:
    image: postgres:15
    volumes: [data:/var/lib/postgresql/data]
"""


def test_services_that_share_volumes_have_one_claim(tmp_path: Path) -> None:
    tree(tmp_path, {"compose.yaml": VOLUMES})
    releases = {name: one["values"] for name, one in draft(tmp_path)["releases"].items()}
    web, worker, db = releases["web"], releases["worker"], releases["db"]
    assert db["kind"] == "StatefulSet" and db["persistence"]["mountPath"] == "/var/lib/postgresql/data"
    assert "kind" not in web and "persistence" not in web, "what needs another one mounts its claim"
    claim = worker["persistence"]["name"]
    assert web["extraVolumes"][0]["persistentVolumeClaim"] == {"claimName": claim}
    assert worker["extraVolumeMounts"] == [
        {"name": claim, "mountPath": "/in", "subPath": "files", "readOnly": True},
        {"name": claim, "mountPath": "/out", "subPath": "thumbs", "readOnly": False},
        {"name": "memory-0", "mountPath": "/x"},
    ]
    assert [one["subPath"] for one in web["extraVolumeMounts"]] == ["files", "thumbs"]


def test_what_must_end_first_is_an_init_container(tmp_path: Path) -> None:
    text = """\
services:
  migrate:
    build: .
    command: [migrate]
    entrypoint: run
    env_file: .env
    environment: {URL: "${DB_URL}", A: b}
    depends_on: [db]
  api:
    build: .
    depends_on: {migrate: {condition: service_completed_successfully}}
  seed: {image: "busybox:1", depends_on: {api: {condition: service_started}}}
  db: {image: "postgres:15"}
  last: {image: x, depends_on: {seed: {condition: service_completed_successfully}}}
"""
    tree(tmp_path, {"compose.yaml": text, "Dockerfile": "FROM x\n", ".env.example": "DB_URL=u\n"})
    releases = draft(tmp_path)["releases"]
    assert set(releases) == {"api", "db", "last"}
    api, last = releases["api"], releases["last"]
    (first,) = api["values"]["initContainers"]
    assert (first["name"], first["command"], first["args"], api["needs"]) == ("migrate", ["run"], ["migrate"], ["db"])
    assert [one["name"] for one in first["env"]] == ["URL", "A"] and first["env"][1]["value"] == "b"
    assert api["images"]["migrate"] == {
        "image.repository": "{repository}", "image.tag": "{tag}", "initContainers[0].image": "{ref}"
    }, "one build is one image"  # fmt: skip
    assert set(api["secrets"]["app-secrets"]) == {
        "initContainers[0].env[0].valueFrom.secretKeyRef.name", "initContainers[0].envFrom[0].secretRef.name"
    }  # fmt: skip
    assert last["values"]["initContainers"][0]["image"] == "busybox:1" and last["needs"] == ["api"]


def completed(*names: str) -> str:
    return ", ".join(f"{name}: {{condition: service_completed_successfully}}" for name in names)


CHAIN = f"""\
services:
  web: {{image: "x:1", depends_on: {{{completed("seed")}}}}}
  seed: {{image: "x:2", depends_on: {{{completed("migrate")}, cache: {{condition: service_started}}}}}}
  migrate: {{image: "x:3", volumes: ["data:/data"], depends_on: {{{completed("wait", "keys")}}}}}
  keys: {{image: "x:4"}}
  wait: {{image: "x:5", depends_on: {{db: {{condition: service_healthy}}, keys: {{condition: service_started}}}}}}
  worker: {{image: "x:6", depends_on: {{{completed("migrate", "seed")}}}}}
  db: {{image: "postgres:15"}}
  cache: {{image: "redis:7"}}
"""


def test_a_chain_of_jobs_runs_in_its_order_before_each_service_that_waits_for_its_end(tmp_path: Path) -> None:
    tree(tmp_path, {"compose.yaml": CHAIN})
    releases = draft(tmp_path)["releases"]
    assert set(releases) == {"web", "worker", "db", "cache"}
    order = ["keys", "wait", "migrate", "seed"]
    for name in ("web", "worker"):
        assert [one["name"] for one in releases[name]["values"]["initContainers"]] == order
        assert sorted(releases[name]["needs"]) == ["cache", "db"]
    assert (tmp_path / "todo-deploy.yaml").read_text().count("migrate: data is not mounted at /data") == 1


def test_jobs_that_wait_for_each_other_end_the_chain(tmp_path: Path) -> None:
    """Which Compose refuses to run; a draft is made nevertheless."""
    text = f"""\
services:
  web: {{image: "x:1", depends_on: {{{completed("a")}}}}}
  a: {{image: "x:2", depends_on: {{{completed("b")}}}}}
  b: {{image: "x:3", depends_on: {{{completed("a")}}}}}
"""
    tree(tmp_path, {"compose.yaml": text})
    assert [one["name"] for one in draft(tmp_path)["releases"]["web"]["values"]["initContainers"]] == ["b", "a"]


def test_what_must_end_first_and_has_no_image_is_left_out(tmp_path: Path) -> None:
    text = """\
services:
  migrate: {command: [migrate]}
  api: {image: "x:1", depends_on: {migrate: {condition: service_completed_successfully}}}
"""
    tree(tmp_path, {"compose.yaml": text})
    releases = draft(tmp_path)["releases"]
    assert set(releases) == {"api"} and "initContainers" not in releases["api"]["values"]


OVERRIDE = """\
services:
  api:
    build: {args: [B=2], target: dev}
    environment: [LEVEL=debug, TOKEN]
    volumes: ["./api/other.conf:/etc/app.conf", "logs:/logs"]
    command: [serve, --reload]
    depends_on: {cache: {condition: service_started}}
    ports: ["9000:9000"]
  cache: {image: "redis:7"}
  db:
"""


@pytest.mark.parametrize("name", ["docker-compose.override.yml", "compose.override.yaml"])
def test_an_override_file_counts_over_the_compose_file_as_for_compose(tmp_path: Path, name: str) -> None:
    text = """\
services:
  api:
    build: {context: api, args: {A: 1}}
    environment: {LEVEL: info, MODE: x}
    volumes: ["./api/app.conf:/etc/app.conf", "data:/data"]
    command: serve
    depends_on: [db]
    ports: ["8000:8000"]
  db: {image: "postgres:15"}
"""
    files = {"api/Dockerfile": "FROM x\n", "api/other.conf": "x", "api/app.conf": "y"}
    made = found(tmp_path, {"docker-compose.yml": text, name: OVERRIDE, **files})
    api = made["api"]
    assert api.dockerfile is not None
    assert (api.dockerfile.context, api.dockerfile.target, api.dockerfile.given) == ("api", "dev", {"A": "1", "B": "2"})
    assert (api.env, api.keys) == ({"LEVEL": "debug", "MODE": "x"}, {"TOKEN": "TOKEN"})
    assert (api.command, api.needs, api.port) == (("serve", "--reload"), ("db", "cache"), 8000)
    assert [one.volume for one in (*api.volumes, *api.files)] == ["data", "logs", "./api/other.conf"]
    assert set(made) == {"api", "db", "cache"} and made["db"].image == "postgres:15"
    assert any(name in remark for remark in api.remarks)


def test_text_files_of_the_repository_are_mounted_from_a_configmap(tmp_path: Path) -> None:
    text = """\
services:
  web:
    image: nginx:1
    volumes: ["./nginx.conf:/etc/nginx/nginx.conf:ro", "./b/nginx.conf:/etc/b", "html:/html", "tmp:/tmp/x", ".:/src",
              "./token.txt:/t", "./logo.bin:/logo", "./absent.conf:/absent", "../out.conf:/out", "./big:/big"]
  job: {image: "x:1", volumes: ["./seed.sh:/seed.sh"]}
  last: {image: "x:1", volumes: ["./seed.sh:/s"], depends_on: {job: {condition: service_completed_successfully}}}
"""
    (tmp_path / "app").mkdir()
    (tmp_path / "out.conf").write_text("x")
    files = {"compose.yaml": text, "nginx.conf": "events {}\n# $host ${uri}\n", "b/nginx.conf": "b\n", "token.txt": "t",
             "big": "x" * 200_000, "seed.sh": "#!/bin/sh\n", "Dockerfile": "FROM x\n"}  # fmt: skip
    root = tmp_path / "app"
    tree(root, files)
    (root / "logo.bin").write_bytes(b"\xff\0")
    (root / "seed.sh").chmod(0o755)
    made = draft(root)
    web, last = (made["releases"][name]["values"] for name in ("web", "last"))
    assert web["config"] == {
        "enabled": True, "name": "web-files", "envFrom": False,
        "data": {"nginx.conf": files["nginx.conf"], "1-nginx.conf": "b\n"},
    }  # fmt: skip
    assert [(one["mountPath"], one["subPath"]) for one in web["extraVolumeMounts"]] == [
        ("/html", "html"), ("/tmp/x", "tmp"), ("/etc/nginx/nginx.conf", "nginx.conf"), ("/etc/b", "1-nginx.conf"),
    ]  # fmt: skip
    assert web["extraVolumes"] == [{"name": "files", "configMap": {"name": "web-files"}}]
    assert last["extraVolumes"][0]["configMap"]["defaultMode"] == 0o755
    remarks = (root / "todo-deploy.yaml").read_text().partition("# Also seen:")[2]
    left_out = (
        ". of",
        "./token.txt",
        "./logo.bin",
        "./absent.conf",
        "../out.conf",
        "./big",
        "./seed.sh is not mounted",
    )
    for left in left_out:
        assert f" {left}" in remarks, left
    assert "nginx.conf of" not in remarks


def remarks(root: Path) -> str:
    return (root / "todo-deploy.yaml").read_text().partition("# Also seen:")[2]


def test_what_a_service_includes_and_extends_is_merged_as_compose_does(tmp_path: Path) -> None:
    main = """\
include: [db/compose.yaml, {path: [tools.yml], project_directory: tools}, "https://example.com/x.git"]
x-env: &env {LEVEL: info}
services:
  api:
    extends: {file: base/common.yml, service: base}
    environment: {<<: *env, MODE: y}
    ports: !override ["9000:9000"]
    command: !reset null
  web: {extends: api, image: "web:1"}
"""
    base = """\
services:
  root: {image: "app:1", volumes: ["./app.conf:/etc/app.conf"], command: serve, environment: [A=no, B=yes, N=1.5]}
  base: {extends: root, env_file: [base.env], ports: ["8000:8000"], build: .}
"""
    files = {
        "compose.yaml": main, "base/common.yml": base, "base/app.conf": "x", "base/base.env": "C=1\n",
        "base/Dockerfile": "FROM x\n", "db/compose.yaml": 'services: {db: {image: "postgres:15", env_file: db.env}}\n',
        "db/db.env": "D=1\n", "tools.yml": "services: {tool: {build: .}}\n", "tools/Dockerfile": "FROM x\n",
    }  # fmt: skip
    made = found(tmp_path, files)
    assert set(made) == {"api", "web", "db", "tool"}
    api, tool = made["api"], made["tool"]
    assert api.env == {"A": "no", "B": "yes", "N": "1.5", "C": "1", "LEVEL": "info", "MODE": "y"}
    assert (api.port, api.command, [one.volume for one in api.files]) == (9000, (), ["./base/app.conf"])
    assert api.dockerfile is not None and (api.dockerfile.context, api.dockerfile.path) == ("base", "base/Dockerfile")
    assert made["web"].image == "web:1" and made["web"].env == api.env and made["db"].env == {"D": "1"}
    assert tool.dockerfile is not None and tool.dockerfile.context == "tools"
    assert any("example.com" in one for one in made["db"].remarks + made["api"].remarks)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("services:\n  a: {image: x}\n  b:\n    extends: {file: absent.yml, service: a}\n", 4),
        ("services:\n  a: {image: x}\n  b:\n    extends: c\n", 4),
        ("services:\n  a:\n    extends: b\n  b:\n    extends: a\n", 5),
        ("include:\n- absent.yml\n", 2),
        ("include:\n- compose.yaml\n", 2),
    ],
)
def test_what_compose_cannot_read_either_is_refused_at_its_line(tmp_path: Path, text: str, line: int) -> None:
    tree(tmp_path, {"compose.yaml": text})
    with pytest.raises(DeployError) as caught:
        find(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("COMPOSE_YAML", f"compose.yaml:{line}") and problem.hints


def test_the_env_file_says_which_files_and_profiles_count(tmp_path: Path) -> None:
    env = {".env": "COMPOSE_FILE=a.yml:b.yml\nCOMPOSE_PROFILES=debug\n", "compose.yaml": "services: {c: {image: x}}\n"}
    a, b = "services: {a: {image: x, profiles: [debug]}}\n", "services: {b: {image: x, profiles: [other]}}\n"
    assert set(found(tmp_path, {**env, "a.yml": a, "b.yml": b})) == {"a"}


def test_every_port_is_reached_and_the_one_for_people_has_the_url(tmp_path: Path) -> None:
    text = """\
services:
  queue: {image: "rabbitmq:3-management", ports: ["5672:5672", "127.0.0.1:${UI:-15672}:15672"], expose: ["4369"]}
  app: {image: "app:1", ports: ["9229:9229", "8000-8001:8000-8001", {target: 53, protocol: udp}]}
  game: {image: "game:1", ports: ["25565:25565"]}
  vpn: {image: "vpn:1", ports: ["51820:51820/udp"]}
  traces: {image: "traces:1", ports: ["14268:14268", "16686:16686"]}
"""
    tree(tmp_path, {"compose.yaml": text})
    document = draft(tmp_path)
    values = {name: one["values"] for name, one in document["releases"].items()}
    ports = {name: [one["port"], *((x["port"], x["protocol"]) for x in one["service"].get("extraPorts", []))]
             for name, one in values.items() if "service" in one}  # fmt: skip
    assert ports == {
        "queue": [5672, (15672, "TCP"), (4369, "TCP")], "app": [8000, (8001, "TCP"), (53, "UDP"), (9229, "TCP")],
        "vpn": [None, (51820, "UDP")], "traces": [14268, (16686, "TCP")],
    }  # fmt: skip
    assert document["urls"] == {
        "queue": {"service": "queue", "port": 15672}, "app": {"service": "app", "port": 8000},
        "traces": {"service": "traces", "port": 16686},
    }, "nobody opens a game or a tunnel"  # fmt: skip
    assert values["queue"]["service"]["type"] == values["app"]["service"]["type"] == "NodePort"


def test_an_image_that_no_tag_says_for_certain_is_taken_as_it_is_written(tmp_path: Path) -> None:
    digest = "quay.io:443/acme/tool@sha256:" + "a" * 64
    images = {"a": "nginx", "b": "x/y:latest", "c": digest, "d": "x:1"}
    tree(tmp_path, {"compose.yaml": json.dumps({"services": {name: {"image": one} for name, one in images.items()}})})
    releases = draft(tmp_path)["releases"]
    assert [one["values"]["image"] for one in releases.values()] == [
        {"ref": "nginx"}, {"ref": "x/y:latest"}, {"ref": digest}, {"repository": "x", "tag": "1"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("curl -fsS http://localhost:8000/up || exit 1", {"httpGet": {"path": "/up", "port": 8000}}),
        (["CMD", "wget", "-qO-", "http://127.0.0.1:8000"], {"httpGet": {"path": "/", "port": 8000}}),
        (["CMD-SHELL", "curl -f https://localhost:8443/x"],
         {"httpGet": {"path": "/x", "port": 8443, "scheme": "HTTPS"}}),
        (["CMD", "curl", "localhost:9000/live"], {"exec": {"command": ["curl", "localhost:9000/live"]}}),
        ("curl -H 'Host: a' http://localhost:8000/", None),
        ("curl http://localhost:8000/ | grep ok", None),
        ("curl http://other:8000/", None),
        (["CMD", "pg_isready", "-U", "a b"], {"exec": {"command": ["pg_isready", "-U", "a b"]}}),
        (["CMD", "ask", "-p", "${DB_PASSWORD}", "x y"],
         {"exec": {"command": ["sh", "-c", "ask -p \"${DB_PASSWORD}\" 'x y'"]}}),
        ("ask $$HOME", {"exec": {"command": ["sh", "-c", "ask $HOME"]}}),
        (["NONE"], {}),
    ],
)  # fmt: skip
def test_a_health_check_is_a_probe_that_asks_the_same(tmp_path: Path, test: Any, expected: Any) -> None:
    body = {"image": "x:1", "ports": ["8000:8000", "8443:8443"], "healthcheck": {"test": test, "interval": "1m30s",
            "timeout": "3s", "retries": 4}}  # fmt: skip
    made = found(tmp_path, {"compose.yaml": json.dumps({"services": {"a": body}})})["a"]
    pace = {"periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 4}
    wanted = {"exec": {"command": ["sh", "-c", test]}} if expected is None else expected
    assert made.probe == ({**wanted, **pace} if wanted else {})
    assert made.keys == ({"DB_PASSWORD": "DB_PASSWORD"} if "DB_PASSWORD" in str(test) else {})


def test_a_secret_that_is_written_in_the_compose_file_is_made_anew(tmp_path: Path) -> None:
    text = """\
services:
  db:
    image: postgres:15
    environment: {POSTGRES_PASSWORD: s3cret-x, POSTGRES_USER: shop, POSTGRES_HOST_AUTH_METHOD: trust, TOKEN_TTL: 30}
    healthcheck: {test: "psql -U shop --password s3cret-x"}
  api:
    image: api:1
    environment: [DB_PASSWORD=s3cret-x, "JWT_SECRET=${JWT_SECRET:-abc}", "OPENAI_API_KEY=${OPENAI_API_KEY:-}",
                  "S3_SECRET=${S3_SECRET:-s3cret-x}", ENCRYPTION_KEY=00112233445566778899aabbccddeeff,
                  FILE_PASSWORD=in-file,
                  "URL=postgres://shop:s3cret-x@db/shop", "API_KEY=", ADMIN_PASSWORD=admin]
    command: serve --key s3cret-x --user admin
    volumes: ["./app.conf:/app.conf"]
  cache: {image: "redis:7", environment: {REDIS_PASSWORD: known-to-programs}}
"""
    tree(tmp_path, {"compose.yaml": text, "app.conf": "password: in-file\n"})
    document = draft(tmp_path)
    made = {"kind": "generated"}
    assert document["secrets"]["app-secrets"]["keys"] == {"JWT_SECRET": made, "POSTGRES_PASSWORD": made}
    assert document["releases"]["api"]["values"]["env"]["OPENAI_API_KEY"] == ""
    db, api = (document["releases"][name]["values"] for name in ("db", "api"))
    assert db["env"] == {"POSTGRES_USER": "shop", "POSTGRES_HOST_AUTH_METHOD": "trust", "TOKEN_TTL": "30"}
    assert db["probes"]["readiness"]["exec"]["command"][2] == "psql -U shop --password ${POSTGRES_PASSWORD}"
    assert api["env"]["URL"] == "postgres://shop:$(POSTGRES_PASSWORD)@db/shop"
    assert api["args"] == ["serve", "--key", "$(POSTGRES_PASSWORD)", "--user", "admin"]
    assert api["secretEnv"]["DB_PASSWORD"]["key"] == api["secretEnv"]["S3_SECRET"]["key"] == "POSTGRES_PASSWORD"
    assert {"ENCRYPTION_KEY", "FILE_PASSWORD"} <= set(api["env"]), "of a fixed form, and in a file, too"
    assert "env" in document["releases"]["cache"]["values"], "who else has it, is not said here"
    assert api["env"]["ADMIN_PASSWORD"] == "admin", "the command may have it, too"
    assert "s3cret-x" not in (tmp_path / "todo-deploy.yaml").read_text()


def test_a_name_that_is_the_password_too_stays_a_name(tmp_path: Path) -> None:
    text = """\
services:
  db:
    image: postgres:15
    environment: {POSTGRES_USER: "${DB_USER:-shop}", POSTGRES_DB: shop, POSTGRES_PASSWORD: "${DB_PASSWORD:-shop}"}
  api: {image: "api:1", environment: ["URL=postgres://shop:shop@db/shop", PGPASSWORD=shop], command: serve shop}
"""
    plain = found(tmp_path, {"compose.yaml": text})
    assert not plain["db"].keys and not plain["api"].keys, "the command may have it, too"
    db, api = found(tmp_path, {"compose.yaml": text.replace(", command: serve shop", "")}).values()
    assert (db.env, db.keys) == ({"POSTGRES_USER": "shop", "POSTGRES_DB": "shop"}, {"POSTGRES_PASSWORD": "DB_PASSWORD"})
    assert api.env == {"URL": "postgres://shop:$(DB_PASSWORD)@db/shop"}
    assert api.keys == {"PGPASSWORD": "DB_PASSWORD", "DB_PASSWORD": "DB_PASSWORD"}


def test_configs_secrets_and_folders_are_mounted_where_the_service_has_them(tmp_path: Path) -> None:
    text = """\
services:
  web:
    image: x:1
    configs: [plain, {source: inline, target: /etc/inline.conf}]
    secrets: [db-password, {source: token, target: api}]
    volumes: ["./conf:/etc/web:ro", "./data:/var/lib/web", "~/media:/media", "/var/run/docker.sock:/s", "./src:/src",
              "./large:/large"]
  app: {build: src, volumes: ["./src/app:/app"]}
configs: {plain: {file: ./plain.conf}, inline: {content: "a=${A:-1}\\n"}}
secrets: {db-password: {file: db/password.txt}, token: {environment: API_TOKEN}}
"""
    files = {"compose.yaml": text, "plain.conf": "p\n", "conf/a.yml": "a\n", "conf/sub/b.yml": "b\n",
             "db/password.txt": "x", "data/.gitkeep": "", "src/Dockerfile": "FROM x\n", "src/app/main.py": "x\n",
             **{f"large/{number}": "x" for number in range(60)}}  # fmt: skip
    tree(tmp_path, files)
    document = draft(tmp_path)
    web = document["releases"]["web"]["values"]
    assert web["config"]["data"] == {"a.yml": "a\n", "b.yml": "b\n", "plain.conf": "p\n", "inline": "a=1\n"}
    places = {one["mountPath"]: one.get("subPath") for one in web["extraVolumeMounts"]}
    assert places == {
        "/var/lib/web": "data", "/media": "media", "/etc/web": None, "/plain": "plain.conf",
        "/etc/inline.conf": "inline", "/run/secrets/db-password": "DB_PASSWORD", "/run/secrets/api": "API_TOKEN",
    }  # fmt: skip
    folder = next(one for one in web["extraVolumes"] if "items" in one.get("configMap", {}))
    assert folder["configMap"]["items"] == [{"key": "a.yml", "path": "a.yml"}, {"key": "b.yml", "path": "sub/b.yml"}]
    at = next(at for at, one in enumerate(web["extraVolumes"]) if "secret" in one)
    assert document["releases"]["web"]["secrets"]["app-secrets"] == {f"extraVolumes[{at}].secret.secretName": "{name}"}
    assert document["secrets"]["app-secrets"]["keys"]["DB_PASSWORD"] == {"kind": "generated"}
    assert "config" not in document["releases"]["app"]["values"], "the image has its sources"
    for left in ("docker.sock of", "./src of", "./large of", "./src/app of"):
        assert left in remarks(tmp_path)
    assert "./data becomes a volume" in remarks(tmp_path)


def test_hosts_in_a_mounted_file_have_the_names_that_the_cluster_gives_them(tmp_path: Path) -> None:
    text = """\
services:
  search: {image: "search:1", container_name: es}
  web: {image: "web:1", volumes: ["./a.conf:/a.conf", "./b.conf:/b.conf"]}
"""
    a = 'hosts: [http://es:9200, "http://es/x", es:9300]\nlocation /es/ { es; }\n'
    tree(tmp_path, {"compose.yaml": text, "a.conf": a, "b.conf": "es\n"})
    assert draft(tmp_path)["releases"]["web"]["values"]["config"]["data"] == {
        "a.conf": "hosts: [http://search:9200, \"http://search/x\", search:9300]\nlocation /es/ { es; }\n",
        "b.conf": "es\n",
    }  # fmt: skip


def test_what_a_service_says_of_its_container_is_kept(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: x:1
    user: "1000:1001"
    working_dir: /srv
    stop_grace_period: 1m
    read_only: true
    cap_add: [NET_ADMIN, CAP_SYS_TIME]
    privileged: true
    tty: true
    tmpfs: /scratch
    shm_size: 1gb
    extra_hosts: ["db.local:10.0.0.7", "host.docker.internal:host-gateway"]
    env_file: [{path: none.env, required: false}]
    environment: {discovery.type: single-node, FLAG: yes}
    deploy: {replicas: 3, resources: {limits: {cpus: "0.5", memory: 32M}}}
    network_mode: host
    entrypoint: []
    command: run 'it
  b: {image: "x:1", user: node, scale: 2, mem_reservation: 3g, links: ["a:other"], environment: ["URL=http://other:80/"]}
"""
    tree(tmp_path, {"compose.yaml": text})
    document = draft(tmp_path)
    a, b = (document["releases"][name]["values"] for name in ("a", "b"))
    assert a["containerSecurityContext"] == {
        "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": None, "runAsUser": 1000, "runAsGroup": 1001,
        "capabilities": {"add": ["NET_ADMIN", "SYS_TIME"]}, "privileged": True,
    }  # fmt: skip
    assert (a["replicaCount"], b["replicaCount"], a["terminationGracePeriodSeconds"]) == (3, 2, 60)
    assert a["resources"] == {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "0.5", "memory": "32Mi"}}
    assert b["resources"] == {"requests": {"cpu": "50m", "memory": "3Gi"}, "limits": {"cpu": "2", "memory": "3Gi"}}
    assert a["containerSpec"] == {"workingDir": "/srv", "tty": True}
    assert a["podSpec"] == {"hostAliases": [{"ip": "10.0.0.7", "hostnames": ["db.local"]}]}
    memory = [one["emptyDir"] for one in a["extraVolumes"]]
    assert memory == [{"medium": "Memory"}, {"medium": "Memory", "sizeLimit": "1Gi"}]
    assert [one["mountPath"] for one in a["extraVolumeMounts"]] == ["/scratch", "/dev/shm"]
    assert a["env"] == {"discovery.type": "single-node", "FLAG": "yes"} and "secrets" not in document
    assert (a["command"], "args" in a) == (["run", "'it"], False)
    assert (b["env"], document["releases"]["b"]["needs"]) == ({"URL": "http://a:80/"}, ["a"])
    assert "network_mode" in remarks(tmp_path) and "user node" in remarks(tmp_path)


def test_what_a_build_says_is_kept_or_said_to_be_left_out(tmp_path: Path) -> None:
    text = """\
services:
  a:
    build:
      context: .
      dockerfile_inline: FROM x
      additional_contexts: {lib: ../lib}
      secrets: [npm, {source: other, target: id}]
      args: {V: "${V:-1}", FLAG: true, PASSED: }
  b: {build: "https://github.com/acme/tool.git#main", image: tool}
  c: {build: low}
secrets: {npm: {environment: NPM_TOKEN}, other: {file: ./x}}
"""
    tree(tmp_path, {"compose.yaml": text, "low/dockerfile": "FROM x\n"})
    document = draft(tmp_path)
    image = document["images"]["a"]
    assert image["secrets"] == {"npm": "NPM_TOKEN", "id": "OTHER"}
    assert (image["args"]["V"], image["args"]["FLAG"]) == ("1", "true")
    assert document["releases"]["b"]["values"]["image"] == {"ref": "tool"} and set(document["images"]) == {"a", "c"}
    assert document["images"]["c"]["dockerfile"] == "low/dockerfile"
    for said in ("dockerfile_inline", "additional_contexts: lib", "tool.git"):
        assert said in remarks(tmp_path), said


@pytest.mark.parametrize(
    ("files", "where", "hint"),
    [
        ({"compose.yaml": "services: {a: {image: x, profiles: [all]}}\n"}, "compose.yaml:1", "COMPOSE_PROFILES"),
        ({"compose.yaml": "services: {a: {command: x}}\n"}, "compose.yaml:1", ""),
        ({"docker/compose.yaml": "services: {}\n"}, "", "cd docker,"),
        ({"x": ""}, "", "helm create"),
    ],
)
def test_why_there_is_nothing_to_draft(tmp_path: Path, files: dict[str, str], where: str, hint: str) -> None:
    (problem,) = nothing_found(tree(tmp_path, files)).problems
    assert (problem.code, problem.where) == ("INIT_NO_CHART", where) and hint in " ".join(problem.hints)


def test_a_compose_file_in_another_folder_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    made = found(tmp_path, {"Dockerfile": "FROM x\n", "docker/compose.yaml": "services: {}\n"})
    assert any("cd docker" in remark for one in made.values() for remark in one.remarks)


def test_values_of_the_env_file_that_refer_to_each_other_are_filled_in(tmp_path: Path) -> None:
    compose_file = """\
services:
  api:
    image: api:1
    environment: [ADDRESS, _JAVA_OPTIONS, API_TOKEN, "OTHER=x-$${HOST_ONLY}", "FROM=${ADDRESS}/a"]
    command: [sh, -c, "echo $$PORT"]
"""
    env = "PORT=8000\nADDRESS=api:${PORT}\n"
    made = found(tmp_path, {"compose.yaml": compose_file, ".env": env})
    assert made["api"].keys == {"ADDRESS": "ADDRESS", "API_TOKEN": "API_TOKEN"}
    document = draft(tmp_path)
    assert document["env"] == {"expand": True}
    values = document["releases"]["api"]["values"]
    assert values["env"]["OTHER"] == "x-$${HOST_ONLY}"
    assert values["env"]["FROM"] == "$$(ADDRESS)/a"
    assert "echo $$PORT" in str(values)
    assert "_JAVA_OPTIONS is passed on where it is set" in remarks(tmp_path)


def test_an_env_file_without_references_needs_no_expansion(tmp_path: Path) -> None:
    compose_file = "services: {api: {image: 'api:1', environment: ['OTHER=x-$${HOST_ONLY}']}}\n"
    tree(tmp_path, {"compose.yaml": compose_file, ".env": "PORT=8000\n"})
    document = draft(tmp_path)
    assert "expand" not in document.get("env", {})
    assert document["releases"]["api"]["values"]["env"]["OTHER"] == "x-${HOST_ONLY}"
