"""A spec's paths stay in its repository unless the spec or the command line allows others."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.config.load import LoadedSpec, load_spec
from deployer.core.errors import DeployError, Problem

SPEC = """\
apiVersion: todo-deploy/v1
application: shop
env:
  files: [.env, config/prod.env]
  example: .env.example
build: {ca: ca.pem}
images:
  api:
    repository: shop-api
    context: api
    dockerfile: build/Dockerfile
releases:
  shop:
    chart: chart
    valuesFiles: [values.yaml]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A spec below the top of a Git work tree, in a home with other files."""
    (tmp_path / "home" / "clone" / ".git").mkdir(parents=True)
    folder = tmp_path / "home" / "clone" / "deploy"
    folder.mkdir()
    (folder / "todo-deploy.yaml").write_text(SPEC)
    return folder


def load(project: Path, text: str = SPEC, *overrides: str, repository: Path | None = None) -> LoadedSpec:
    (project / "todo-deploy.yaml").write_text(text)
    return load_spec(project / "todo-deploy.yaml", None, overrides, repository=repository)


def refusals(project: Path, text: str = SPEC, *overrides: str, repository: Path | None = None) -> list[Problem]:
    with pytest.raises(DeployError) as caught:
        load(project, text, *overrides, repository=repository)
    assert {one.code for one in caught.value.problems} == {"PATH_OUTSIDE"}
    return list(caught.value.problems)


WRITTEN = [
    ("context: api", "context: {}", 10),
    ("dockerfile: build/Dockerfile", "dockerfile: {}/Dockerfile", 11),
    ("chart: chart", "chart: {}", 14),
    ("[values.yaml]", "[values.yaml, {}/v.yaml]", 15),
    ("config/prod.env]", "{}/prod.env]", 4),
    ("example: .env.example", "example: {}/.env.example", 5),
    ("ca: ca.pem", "ca: {}/ca.pem", 6),
]


@pytest.mark.parametrize("to", ["../../other", "{home}/other"])
@pytest.mark.parametrize(("old", "new", "line"), WRITTEN, ids=[old for old, _, _ in WRITTEN])
def test_every_path_of_a_spec_stays_in_the_repository(project: Path, to: str, old: str, new: str, line: int) -> None:
    home = project.parent.parent
    (found,) = refusals(project, SPEC.replace(old, new.format(to.format(home=home))))
    assert found.where == f"todo-deploy.yaml:{line}" and str(home / "other") in found.title
    assert any("allowOutside: [../../other" in hint for hint in found.hints)
    load(project, SPEC.replace(old, new.format("../other")))


LINKS = ["api", "build", "build/Dockerfile", "build/Dockerfile.dockerignore", "api/.dockerignore", "chart", ".env",
         "config", "values.yaml", "ca.pem", ".env.example"]  # fmt: skip


@pytest.mark.parametrize("link", LINKS)
def test_a_link_that_leads_out_is_a_path_that_does(project: Path, link: str) -> None:
    (project / link).parent.mkdir(exist_ok=True)
    (project / link).symlink_to(project.parent.parent / "secret")
    assert refusals(project)
    (project / link).unlink()
    (project / link).symlink_to(project.parent / "inside")
    load(project)


def test_what_the_spec_allows_may_leave_and_is_known(project: Path) -> None:
    text = SPEC.replace("chart: chart", "chart: ../../charts/shop") + "allowOutside: [../../charts]\n"
    loaded = load(project, text)
    assert [(one.location, one.allowed) for one in loaded.outside] == [(("releases", "shop", "chart"), True)]
    assert project.parent.parent / "charts" in loaded.readable
    assert refusals(project, text.replace("[../../charts]", "[../../charts/shop2]"))


def test_what_the_command_line_gives_may_leave(project: Path) -> None:
    loaded = load(project, SPEC, "build.ca=/etc/company.pem", "env.files=[/home/somebody/.env]")
    assert [one.location for one in loaded.outside] == [("env", "files", 0), ("build", "ca")]
    (project / "todo-deploy.local.yaml").write_text("build: {ca: /etc/company.pem}\n")
    (found,) = refusals(project)
    assert found.where == "todo-deploy.local.yaml:1"


def test_without_git_the_repository_is_the_specs_folder(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    assert refusals(folder, SPEC.replace("context: api", "context: ../api"))
    loaded = load(folder, SPEC.replace("context: api", "context: ../api"), repository=tmp_path)
    assert loaded.repository == tmp_path.resolve()
    assert refusals(folder, SPEC.replace("context: api", "context: ../../api"), repository=tmp_path)
