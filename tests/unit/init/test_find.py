"""What the files of a repository say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.init.find import find
from deployer.init.model import dashed

CHART = "apiVersion: v2\nname: {name}\nversion: 0.1.0\n"


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tree(root: Path, files: dict[str, str]) -> Path:
    put(root, **files)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"api/Dockerfile": "FROM x\nCOPY a.py /\n", "api/a.py": ""}, ("api", "api", True), id="beside"),
        pytest.param({"api/Dockerfile": "FROM x\nCOPY api/a.py /\n", "api/a.py": ""}, ("api", ".", True), id="above"),
        pytest.param({"Dockerfile.api": "FROM x\nCOPY src/ /\n", "src/a.py": ""}, ("api", ".", True), id="suffix"),
        pytest.param(
            {"docker/api.Dockerfile": "FROM x\nCOPY . /\n", "services/api/a.py": ""}, ("api", "services/api", False),
            id="apart, in the folder of its name",
        ),
        pytest.param(
            {"docker/api.Dockerfile": "FROM x\nCOPY a.* /\n", "services/api/a.py": ""}, ("api", "services/api", True),
            id="apart, and what it copies is there",
        ),
        pytest.param({"web/Containerfile": "FROM x\nCOPY --from=b /a /a\nCOPY gone /\n"}, ("web", "web", False),
                     id="what it copies is nowhere"),
        pytest.param({"build/Dockerfile": "FROM x\nCOPY cmd /c\n", "cmd/a.go": "", "shop/x": ""}, (None, ".", True),
                     id="in a folder for Dockerfiles, and what it copies is above"),
        pytest.param({"docker/api/Dockerfile": "FROM x\nCOPY a.py /\n", "docker/api/run.sh": "", "src/api/a.py": ""},
                     ("api", "src/api", True), id="in a folder for Dockerfiles, its sources in one of its name"),
        pytest.param({"docker/Dockerfile": "FROM x\nCOPY . /\n", "a.py": ""}, (None, ".", False),
                     id="in a folder for Dockerfiles, and all of the context is copied"),
        pytest.param({"docker/Dockerfile": "FROM x\nCOPY . /\n", "docker/DebugDockerfile": "", "a.py": ""},
                     (None, ".", False), id="in a folder for Dockerfiles of several names"),
        pytest.param({"build/package/Dockerfile.worker": "FROM x\nCOPY cmd/ /\n", "cmd/a": ""}, ("worker", ".", True),
                     id="deeper, with a suffix"),
        pytest.param({"api/dockerfile": "FROM x\nCOPY a /\n", "api/a": ""}, ("api", "api", True), id="lower case"),
        pytest.param({"My_App/Dockerfile": "FROM x\n"}, ("my-app", "My_App", True), id="a name for an image"),
    ],
)  # fmt: skip
def test_dockerfiles_are_built_where_what_they_copy_is(
    tmp_path: Path, files: dict[str, str], expected: tuple[str | None, str, bool]
) -> None:
    (one,) = find(tree(tmp_path, files)).dockerfiles
    name, *rest = expected
    assert (one.name, one.context, one.sure) == (name or dashed(tmp_path.name), *rest)


def test_one_dockerfile_makes_several_images_by_stage_or_by_argument(tmp_path: Path) -> None:
    staged = "FROM x AS base\nFROM base AS build\nFROM base AS api\nFROM base AS worker\n"
    by_argument = "FROM x\nARG SERVICE\nCOPY apps/${SERVICE}/ /srv\nRUN make -C libs/$SERVICE\n"
    files = {
        "Dockerfile": staged,
        "all/Dockerfile": by_argument,
        "all/apps/a/x": "",
        "all/apps/b/x": "",
        "all/apps/y": "",
    }
    found = find(tree(tmp_path, files)).dockerfiles
    assert {(one.name, one.target, *one.given.items()) for one in found if one.target or one.given} == {
        ("api", "api"), ("worker", "worker"), ("a", "", ("SERVICE", "a")), ("b", "", ("SERVICE", "b"))
    }  # fmt: skip


def test_what_is_no_chart_is_left_out_where_there_is_one(tmp_path: Path) -> None:
    files = {
        "a/Chart.yaml": CHART.format(name="a"), "b/Chart.yaml": "name: {{ cookiecutter.name }}\n",
        "c/Chart.yaml": CHART.format(name="c"), "c/values.yaml": "a: [\n",
    }  # fmt: skip
    repo = find(tree(tmp_path, files))
    assert [one.name for one in repo.charts] == ["a"]
    assert [one.problems[0].code for one in repo.broken] == ["CHART_YAML", "CHART_YAML"]


def test_a_dockerfile_says_its_bases_arguments_and_ports(tmp_path: Path) -> None:
    text = (
        "ARG BASE=python:3.11\nARG V=1\nFROM ${BASE}\nARG V\nARG TOKEN\nEXPOSE 80\nFROM node:${V}\nEXPOSE 81 82/tcp\n"
    )
    (one,) = find(tree(tmp_path, {"Dockerfile": text})).dockerfiles
    assert one.name == dashed(tmp_path.name)
    assert one.bases == {"BASE": "python:3.11"}
    assert one.args == {"V": "1", "TOKEN": ""}
    assert one.ports == (81, 82)


def test_dockerfiles_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    files = {"a/api/Dockerfile": "FROM x\n", "b/api/Dockerfile": "FROM x\n", "web.Dockerfile": "FROM x\n"}
    assert sorted(one.name for one in find(tree(tmp_path, files)).dockerfiles) == ["a-api", "b-api", "web"]


def test_what_is_no_file_is_not_looked_at(tmp_path: Path) -> None:
    root = tree(tmp_path, {"api/Dockerfile": "FROM x\n"})
    (root / "Dockerfile").symlink_to("nowhere")
    (root / "Chart.yaml").symlink_to("nowhere")
    os.mkfifo(root / "web.Dockerfile")
    folder = root / b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM x\n")
    assert [one.path for one in find(root).dockerfiles] == ["api/Dockerfile"]


def test_what_is_somebody_elses_is_not_looked_at(tmp_path: Path) -> None:
    files = dict.fromkeys(
        (
            "node_modules/x/Dockerfile",
            ".git/Dockerfile",
            "vendor/y/Dockerfile",
            "Dockerfile.dockerignore",
            "Dockerfile.md",
        ),
        "FROM x\n",
    )
    assert find(tree(tmp_path, files)).dockerfiles == ()


def test_charts_are_those_that_are_installed_by_themselves(tmp_path: Path) -> None:
    dependency = "dependencies:\n- {name: part, version: 0.1.0, repository: 'file://../part', alias: left}\n"
    files = {
        "charts/shop/Chart.yaml": CHART.format(name="shop") + dependency + "appVersion: 1.10\n",
        "charts/shop/values.yaml": "image: {tag: a}\nleft: {size: 2}\n",
        "charts/shop/charts/inner/Chart.yaml": CHART.format(name="inner"),
        "charts/shop/charts/inner/values.yaml": "image: inner:1\n",
        "charts/shop/Dockerfile": "FROM x\n",
        "charts/part/Chart.yaml": CHART.format(name="part"),
        "charts/part/values.yaml": "size: 1\nimage: part:1\n",
        "charts/lib/Chart.yaml": CHART.format(name="lib") + "type: library\n",
        "charts/alone/Chart.yaml": CHART.format(name="alone"),
    }
    repo = find(tree(tmp_path, files))
    assert [(one.path, one.name, one.app_version) for one in repo.charts] == [
        ("charts/alone", "alone", ""), ("charts/shop", "shop", "1.10")
    ]  # fmt: skip
    assert repo.charts[1].values == {
        "image": {"tag": "a"}, "inner": {"image": "inner:1"}, "left": {"size": 2, "image": "part:1"}
    }  # fmt: skip
    assert repo.dockerfiles == (), "a chart's own files are no sources"


def test_keys_come_from_the_example_before_the_env_file(tmp_path: Path) -> None:
    repo = find(tree(tmp_path, {".env.sample": "A=1\nB=\n", ".env": "C=secret\n"}))
    assert (repo.env_keys, repo.env_example, repo.has_env) == ({"A": "1", "B": ""}, ".env.sample", True)
    (tmp_path / ".env.sample").unlink()
    assert find(tmp_path).env_keys == {"C": "secret"}
    assert "secret" not in repr(find(tmp_path))
    (tmp_path / ".env").unlink()
    assert (find(tmp_path).env_keys, find(tmp_path).has_env) == ({}, False)


def test_a_chart_below_itself_is_left_out(tmp_path: Path) -> None:
    part = "dependencies: [{name: a, version: 0.1.0, repository: 'file://../a'}]\n"
    tree(tmp_path, {"a/Chart.yaml": CHART.format(name="a") + part, "a/values.yaml": "x: 1\n"})
    find(tmp_path)


@pytest.mark.parametrize(("values", "line"), [(b"a: 1\n\tb: 2\n", 2), (b"a: caf\xe9\n", 1), (b"a: &a [*a]\n", 1)])
def test_values_that_are_no_yaml_are_refused_at_their_line(tmp_path: Path, values: bytes, line: int) -> None:
    tree(tmp_path, {"a/Chart.yaml": CHART.format(name="a")})
    (tmp_path / "a/values.yaml").write_bytes(values)
    with pytest.raises(DeployError) as caught:
        find(tmp_path)
    assert caught.value.problems[0].where.endswith(f"a/values.yaml:{line}")


def test_the_charts_of_a_folder_that_is_another_charts_own_are_found_when_asked_for(tmp_path: Path) -> None:
    chart = CHART.format(name="part")
    umbrella = {"Chart.yaml": chart, "charts/part/Chart.yaml": chart, "charts/part/templates/a.yaml": "a: b\n"}
    tree(tmp_path, umbrella)
    assert [one.path for one in find(tmp_path).charts] == ["."]
    assert [one.path for one in find(tmp_path / "charts").charts] == ["part"]
    assert [one.path for one in find(tmp_path / "charts" / "part").charts] == ["."]
