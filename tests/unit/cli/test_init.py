"""`init`: a draft from a repository, asked for at a terminal, taken as it comes elsewhere, never over another one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from deployer import composition
from deployer.commands import init
from deployer.config.load import load_spec
from deployer.core.errors import ExitCode, Problem
from deployer.core.ports import WITHOUT_CLUSTER, Object, Rendering, UpgradeRequest
from deployer.preflight.rules.model import Finding
from deployer.preflight.validate import Examined
from deployer.sources.load import shipped
from tests import ROOT
from tests.unit.cli.conftest import Run, Staged
from tests.unit.init.charts import container, over, pods, service

CHART = "apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: 1.2.3\n"
VALUES: Object = {"image": {"repository": "acme/web", "tag": "9"}, "service": {"type": "ClusterIP"}}


@pytest.fixture
def folder(project: Path) -> Path:
    """A repository with a Dockerfile and a chart, and no spec."""
    (project / "todo-deploy.yaml").unlink()
    (project / "chart" / "templates").mkdir(parents=True)
    (project / "chart" / "Chart.yaml").write_text(CHART)
    (project / "chart" / "values.yaml").write_text(
        "image: {repository: acme/web, tag: '9'}\nservice: {type: ClusterIP}\n"
    )
    (project / "web").mkdir()
    (project / "web" / "Dockerfile").write_text("FROM scratch\nCOPY index.html /\n")
    (project / "web" / "index.html").write_text("hello\n")
    return project


class Chart:
    """A helm that knows the chart's templates."""

    def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]:
        values = over(VALUES, request.values)
        image = f"{values['image']['repository']}:{values['image']['tag']}"
        probe = {"httpGet": {"path": "/healthz", "port": 80}}
        web = container(image, port=80, readinessProbe=probe)
        return [pods(request.release, web), service(request.release, request.release, values["service"]["type"])]


@pytest.fixture
def with_helm(staged: Staged, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(composition, "open_helm", lambda *_: Chart())
    monkeypatch.setattr(init, "examine", lambda *_: Examined(()))
    return folder


def test_a_draft_is_written_and_loads(with_helm: Path, run: Run) -> None:
    done = run("init")
    assert done.code == 0
    assert "was drafted" in done.err and "2 lines guessed" in done.err and "next: todo-deploy up" in done.err
    spec = load_spec(with_helm / "todo-deploy.yaml").spec
    assert spec.application == spec.namespace == "project"
    assert spec.images["web"].context == "web"
    assert spec.releases["web"].images == {"web": {"image.repository": "{repository}", "image.tag": "{tag}"}}
    assert spec.releases["web"].values == {"service": {"type": "NodePort"}}
    assert spec.urls["web"].path == "/healthz"
    assert sorted(path.name for path in with_helm.iterdir() if path.name.startswith(".")) == [".env"]


def test_a_chart_is_rendered_once_with_its_own_values(
    with_helm: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Object] = []

    class Asked(Chart):
        def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]:
            asked.append(dict(request.values))
            return super().template(request, against)

    monkeypatch.setattr(composition, "open_helm", lambda *_: Asked())
    assert run("init").code == 0
    assert asked.count({}) == 1


def test_a_spec_that_is_there_is_not_overwritten(with_helm: Path, run: Run) -> None:
    spec = with_helm / "todo-deploy.yaml"
    spec.write_text("mine\n")
    done = run("init", "-o", "json")
    assert (done.code, done.errors) == (ExitCode.REFUSED, ["SPEC_EXISTS"])
    shown = run("init", "--stdout")
    assert shown.out.startswith("# Drafted by `todo-deploy init`")
    assert spec.read_text() == "mine\n"
    assert run("init", "--overwrite", "--quiet").err == ""
    assert spec.read_text() == shown.out


def test_the_draft_as_json(with_helm: Path, run: Run) -> None:
    data = run("init", "-o", "json", "-f", "other.yaml").document["data"]
    assert Path(data["file"]) == with_helm / "other.yaml"
    assert (data["spec"]["application"], data["unread"], data["toDo"]) == ("project", [], [])
    assert data["guessed"] == (with_helm / "other.yaml").read_text().count("# guessed")


def test_without_charts_and_dockerfiles_there_is_nothing_to_draft(folder: Path, run: Run) -> None:
    (folder / "chart" / "Chart.yaml").unlink()
    (folder / "web" / "Dockerfile").unlink()
    done = run("init", "-o", "json")
    assert (done.code, done.errors) == (ExitCode.INPUT, ["INIT_NO_CHART"])
    assert not (folder / "todo-deploy.yaml").exists()


def test_without_a_chart_our_own_is_used_and_no_helm_is_needed(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "examine", lambda *_: Examined(()))
    monkeypatch.setenv("PATH", "/nowhere")
    (folder / "chart" / "Chart.yaml").unlink()
    spec = run("init", "-o", "json").document["data"]["spec"]
    assert spec["releases"]["web"]["chart"] == "builtin:component"


def test_without_helm_nothing_is_drafted(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = run("init", "-o", "json")
    assert (done.code, done.errors) == (ExitCode.MACHINE, ["INIT_NO_HELM"])
    assert not (folder / "todo-deploy.yaml").exists()


def test_what_is_left_to_do_is_listed(with_helm: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("X_WRONG", "error", Problem("X_WRONG", "it does not fit", hints=("mend it",)))
    monkeypatch.setattr(init, "examine", lambda *_: Examined((found,)))
    done = run("init")
    assert "X_WRONG" in done.err and "1 thing is left to do" in done.err and "todo-deploy validate" in done.err


def test_a_context_that_ships_the_spec_is_reported_by_the_name_of_the_spec(
    with_helm: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "examine", lambda loaded, _: Examined(tuple(
        Finding(one.code, "warning", one) for one in shipped(loaded, {})
    )))  # fmt: skip
    (with_helm / "web/Dockerfile").unlink()
    (with_helm / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (with_helm / ".dockerignore").write_text(".env\nchart\n")
    done = run("init")
    assert "CONTEXT_SHIPS" in done.err and "copies todo-deploy.yaml" in done.err and ".draft" not in done.err
    (with_helm / ".dockerignore").write_text(".env\nchart\ntodo-deploy.yaml\n")
    assert "CONTEXT_SHIPS" not in run("init", "--overwrite").err
    shown = run("init", "--stdout")
    assert "CONTEXT_SHIPS" not in shown.err and ".draft" not in shown.err


def test_a_context_that_would_ship_the_env_file_gets_a_dockerignore(with_helm: Path, run: Run) -> None:
    (with_helm / "web/Dockerfile").unlink()
    (with_helm / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    done = run("init")
    assert ".dockerignore was written" in done.err and "CONTEXT_SHIPS" not in done.err
    lines = (with_helm / ".dockerignore").read_text().splitlines()
    assert lines[0] == ".env" and {".git", "todo-deploy*.yaml"} <= {*lines}
    assert "CONTEXT_SHIPS" not in run("validate", "-v").err
    assert "CONTEXT_SHIPS" not in run("init", "--overwrite").err
    (with_helm / ".dockerignore").write_text("mine\n")
    assert run("init", "--overwrite", "-o", "json").document["data"]["ignore"] == {}
    assert (with_helm / ".dockerignore").read_text() == "mine\n"


def test_at_a_terminal_it_asks(folder: Path) -> None:
    tools = folder / "bin"
    tools.mkdir()
    (tools / "helm").write_text("#!/bin/sh\nexit 1\n")
    (tools / "helm").chmod(0o755)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "deployer", "init"], cwd=folder, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
        env={**os.environ, "PATH": str(tools), "PYTHONPATH": str(ROOT), "HOME": str(folder)},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"shop\n")
    process.communicate(timeout=60)
    printed = os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0, printed
    assert "Name of the application [project]: " in printed
    text = (folder / "todo-deploy.yaml").read_text()
    assert load_spec(folder / "todo-deploy.yaml").spec.application == "shop"
    assert "guessed" not in text.split("apiVersion")[1]
