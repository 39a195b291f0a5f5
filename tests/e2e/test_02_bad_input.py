"""What a tired user gets wrong: a clear error with its own code, and the running application untouched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.core.errors import ExitCode
from tests.cluster import PROFILE, run_cli
from tests.e2e.project import CURRENT_CONTEXT, Object, Project, one_document, own_kubeconfig, read_yaml, tell

BACKEND = "dockerfiles/backend.Dockerfile"
SPEC = "todo-deploy.yaml"
COPY = "COPY todo_backend todo_backend\n"


@pytest.fixture(autouse=True)
def nothing_is_lost(app: Project) -> Iterator[None]:
    """The application runs on as if nobody had tried."""
    pods, revision, secret = app.pods(), app.revision(), app.object("secret", "app-secrets")
    yield
    assert app.pods() == pods
    assert app.revision() == revision
    assert app.object("secret", "app-secrets") == secret
    assert app.current_context() == CURRENT_CONTEXT


def the_error(document: Object, code: str) -> Object:
    """The only error of the document, which has this code."""
    assert document["ok"] is False
    assert [one["code"] for one in document["errors"]] == [code]
    error: Object = document["errors"][0]
    assert error["title"]
    return error


def test_a_dockerfile_that_fails(app: Project) -> None:
    broken = COPY + "RUN echo on the way && echo there is no such wheel >&2 && exit 7\n"
    with app.edited(BACKEND, lambda text: text.replace(COPY, broken)):
        document = app.json("up", exit_code=ExitCode.BUILD)
        line = (app.root / BACKEND).read_text().splitlines().index(broken.splitlines()[1]) + 1
    error = the_error(document, "BUILD_FAILED")
    assert "backend" in error["title"]
    assert error["where"].endswith(f"{BACKEND}:{line}")
    for words in ("RUN echo on the way", "there is no such wheel", "7"):
        assert words in error["detail"]
    assert app.up()["changed"] is False


def test_a_dockerfile_that_cannot_be_read(app: Project) -> None:
    with app.edited(BACKEND, lambda text: text.replace("USER 1000", "USSER 1000")):
        document = app.json("up", exit_code=ExitCode.BUILD)
        line = (app.root / BACKEND).read_text().splitlines().index("USSER 1000") + 1
    error = the_error(document, "BUILD_FAILED")
    assert "USSER" in error["detail"]
    assert error["where"].endswith(f"{BACKEND}:{line}")


def test_a_required_key_without_a_value(app: Project) -> None:
    with app.edited(
        SPEC, lambda text: text.replace("OPENAI_API_KEY: {kind: optional}", "OPENAI_API_KEY: {kind: required}")
    ):
        done = app.run("up", "-o", "json")
    error = the_error(one_document(done.stdout), "ENV_KEY_MISSING")
    tell("missing key refused after", f"{done.seconds:.2f} s")
    assert done.returncode == ExitCode.INPUT
    assert "OPENAI_API_KEY" in error["title"]
    assert "started" not in done.stderr, "nothing was begun"


@pytest.mark.parametrize(
    "line", ["OPENAI_API_KEY: as-in-yaml", "OPENAI_API_KEY='without an end", "POSTGRES_PASSWORD=twice"]
)
def test_a_malformed_env_file(app: Project, line: str) -> None:
    secret = app.env_value("POSTGRES_PASSWORD")
    text = app.env_file.read_text().replace("OPENAI_API_KEY=\n", "") + f"{line}\n"
    with app.edited(".env", lambda _: text):
        done = app.run("up", "-o", "json")
    (error,) = one_document(done.stdout)["errors"]
    assert done.returncode == ExitCode.INPUT
    assert error["code"].startswith("ENV_")
    assert error["where"] == f".env:{len(text.splitlines())}"
    assert error["title"]
    assert secret not in done.stdout + done.stderr


def test_lines_that_nothing_uses_are_skipped(app: Project) -> None:
    with app.edited(".env", lambda text: f"{text}NO VALUE HERE\n1BAD=x\nspring.datasource.url=jdbc:x\n"):
        assert app.up()["changed"] is False


def test_a_placeholder_value(app: Project) -> None:
    with app.edited(".env", lambda text: text.replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-your-key-here")):
        error = the_error(app.json("up", exit_code=ExitCode.INPUT), "ENV_PLACEHOLDER")
    assert "OPENAI_API_KEY" in error["title"]
    assert error["where"].startswith(".env:")


@pytest.mark.parametrize(
    ("change", "named", "hint"),
    [
        (lambda text: text.replace("repository: todo-b", "repositry: todo-b"), "repositry", "repository"),
        (lambda text: text.replace("    repository: todo-backend\n", ""), "repository", ""),
        (lambda text: text.replace("chart: charts/todo-app", "chart: charts/todo-ap"), "charts/todo-ap", ""),
        (lambda text: text.replace("context: app/backend", "context: app/backand"), "app/backand", ""),
        (lambda text: text.replace("memory: 8g", "memory: lots"), "memory", ""),
        (lambda text: text.replace("images:\n", "images: [\n", 1), "", ""),
    ],
    ids=["misspelt key", "missing key", "no chart", "no context", "no size", "no YAML"],
)  # fmt: skip
def test_a_spec_that_is_wrong(app: Project, change: Callable[[str], str], named: str, hint: str) -> None:
    with app.edited(SPEC, change):
        # Without our own --set, which would hide a wrong memory.
        done = run_cli(
            "up", "-o", "json", "--set", f"cluster.name={PROFILE}", cwd=app.root, env=app.environment
        )  # fmt: skip
    document = one_document(done.stdout)
    assert done.returncode == ExitCode.INPUT
    for error in document["errors"]:
        file, _, line = error["where"].partition(":")
        assert file.endswith(SPEC)
        assert int(line.partition(":")[0]) > 1
    shown = " ".join(error["title"] + error["detail"] + " ".join(error["hints"]) for error in document["errors"])
    assert named in shown
    assert hint in shown


def test_an_unknown_profile_and_service(app: Project) -> None:
    error = the_error(app.json("up", "--profile", "smal", exit_code=ExitCode.INPUT), "PROFILE_UNKNOWN")
    assert "smal" in error["title"]
    error = the_error(app.json("up", "backand", exit_code=ExitCode.INPUT), "SERVICE_UNKNOWN")
    assert "backend" in error["detail"]


def test_a_folder_without_a_spec(app: Project, tmp_path: Path) -> None:
    done = run_cli("up", "-o", "json", cwd=tmp_path, env=app.environment)
    assert done.returncode == ExitCode.INPUT
    assert one_document(done.stdout)["errors"][0]["hints"]
    assert not list(tmp_path.iterdir())


def test_a_build_context_of_two_gigabytes(app: Project) -> None:
    heap = app.root / "app/backend/todo_backend/heap.bin"
    with heap.open("wb") as file:
        file.truncate(2 * 2**30)  # takes no space on the disk
    try:
        done = app.run("up", "-o", "json")
    finally:
        heap.unlink()
    error = the_error(one_document(done.stdout), "CONTEXT_TOO_LARGE")
    assert done.returncode == ExitCode.INPUT
    assert "todo_backend" in error["detail"]
    assert error["where"].partition(":")[0].endswith(SPEC)
    tell("2 GB context refused after", f"{done.seconds:.2f} s")


@pytest.mark.parametrize(
    "command", [["up"], ["down", "--volumes", "--yes"], ["down", "--cluster", "--yes"], ["status"]]
)
def test_somebody_else_s_cluster_under_our_name(app: Project, tmp_path: Path, command: list[str]) -> None:
    document = own_kubeconfig(app.kubeconfig)
    for one in document["clusters"]:
        if one["name"] == PROFILE:
            one["cluster"] = {"server": "https://production.example.com:6443"}
    foreign = tmp_path / "kubeconfig"
    foreign.write_text(json.dumps(document))
    failed = app.json(*command, env={"KUBECONFIG": str(foreign)}, exit_code=ExitCode.REFUSED)
    error = the_error(failed, "CONTEXT_FOREIGN")
    assert "production.example.com" in error["detail"]
    assert read_yaml(foreign) == document


def test_docker_that_is_not_there(app: Project) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    for command in ("up", "status"):
        document = app.json(command, env=nowhere, exit_code=ExitCode.MACHINE)
        error = document["errors"][0]
        assert error["code"].startswith("DOCKER_")
        assert error["hints"]
