"""A repository that is only looked at writes and reads nothing outside: the experiments, with the command itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

SPEC = "apiVersion: todo-deploy/v1\napplication: app\nreleases:\n  web: {chart: chart}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "clone" / "app"
    (folder / "chart" / "templates").mkdir(parents=True)
    (folder.parent / ".git").mkdir()
    (folder / "todo-deploy.yaml").write_text(SPEC)
    chart(folder / "chart", "web")
    return folder


def chart(folder: Path, name: str, dependencies: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n{dependencies}")


def validate(project: Path) -> tuple[int, dict[str, Any]]:
    return run(project, "validate", "-o", "json")


def run(project: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    home = project.parent.parent
    env = {
        "PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_STATE_HOME": str(home / ".state"), "PYTHONPATH": str(ROOT), "DOCKER_HOST": "unix:///nowhere",
    }  # fmt: skip
    words = [sys.executable, "-m", "deployer", *arguments]
    done = subprocess.run(words, cwd=project, env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)


def test_a_dependency_with_a_path_for_a_name_writes_nothing(project: Path) -> None:
    home = project.parent.parent
    # From the staging folder: charts, .staging-*, charts, todo-deploy, .cache.
    name = "../../../../../.ssh"
    chart(project / "evil", name)
    (project / "evil" / "authorized_keys").write_text("ssh-ed25519 AAAA\n")
    chart(project / "chart", "web", f"dependencies: [{{name: {name}, version: 0.1.0, repository: 'file://../evil'}}]\n")
    code, document = validate(project)
    assert code == 2
    (found,) = document["errors"]
    assert found["code"] == "NAME_PATH" and found["where"].endswith("chart/Chart.yaml:4") and found["hints"]
    assert not (home / ".ssh").exists()


def test_a_link_of_a_chart_to_a_file_of_the_user_is_not_read(project: Path) -> None:
    home = project.parent.parent
    (home / "key").write_text("a private key")
    (project / "chart" / "templates" / "key").symlink_to(home / "key")
    code, document = validate(project)
    assert code == 2 and document["errors"][0]["code"] == "PATH_OUTSIDE"
    staged = [path for path in (home / ".cache").rglob("*") if path.is_file() and b"a private" in path.read_bytes()]
    assert staged == []


def test_validate_says_which_paths_leave_the_repository(project: Path) -> None:
    chart(project.parent.parent / "shared", "web")
    (project / "todo-deploy.yaml").write_text(SPEC.replace("chart: chart", "chart: ../../shared"))
    code, document = validate(project)
    assert code == 2 and document["errors"][0]["code"] == "PATH_OUTSIDE"
    (project / "todo-deploy.yaml").write_text(
        SPEC.replace("chart: chart", "chart: ../../shared") + "allowOutside: [../../shared]\n"
    )
    code, document = validate(project)
    notes = [one for one in document["data"]["findings"] if one["code"] == "PATH_OUTSIDE"]
    assert code == 0 and [one["where"] for one in notes] == ["todo-deploy.yaml:4"]
    (project / "chart" / "templates" / "x").symlink_to(project.parent.parent / "shared" / "Chart.yaml")
    (project / "todo-deploy.yaml").write_text(SPEC + "allowOutside: [../../shared]\n")
    code, document = validate(project)
    notes = [one for one in document["data"]["findings"] if one["code"] == "PATH_OUTSIDE"]
    assert code == 0 and "shared/Chart.yaml" in notes[0]["title"]


def test_a_draft_is_not_written_through_a_link(project: Path) -> None:
    theirs = project.parent.parent / "profile"
    theirs.write_text("theirs")
    (project / "todo-deploy.yaml").unlink()
    shutil.rmtree(project / "chart")  # there is no helm to render it
    (project / "Dockerfile").write_text("FROM scratch\nEXPOSE 80\n")
    for name in ("todo-deploy.yaml", ".todo-deploy.yaml.draft"):
        (project / name).symlink_to(theirs)
    code, _ = run(project, "init", "--overwrite", "-o", "json")
    assert code in (0, 2) and theirs.read_text() == "theirs"


def test_validate_takes_the_example_for_an_env_file_that_is_not_there(project: Path) -> None:
    secret = "secrets: {app: {keys: {URL: {default: 'x://${PASSWORD}'}, PASSWORD: {kind: generated}}}}\n"
    (project / "todo-deploy.yaml").write_text(SPEC + secret)
    (project / ".env.example").write_text("PASSWORD=\n")
    code, document = validate(project)
    assert (code, document["errors"]) == (0, [])
    (project / "todo-deploy.yaml").write_text(SPEC + secret.replace("{kind: generated}", "{}"))
    code, document = validate(project)
    assert code == 2 and document["errors"][0]["code"] == "ENV_KEY_MISSING"
    assert not (project / ".env").exists()
