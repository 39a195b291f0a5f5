"""What the Compose file and skaffold.yaml say of the images of a repository that has a chart."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.init.find import find
from deployer.init.match import best
from deployer.init.model import FoundDockerfile, Slot
from tests.unit.init.test_find import tree

ARTIFACTS = "kind: Config\nbuild:\n  artifacts:\n"
CHART = {"chart/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 1.0.0\n"}


def found(root: Path, files: dict[str, str]) -> dict[str, FoundDockerfile]:
    return {one.name: one for one in find(tree(root, {**CHART, **files})).dockerfiles}


def maker(of: dict[str, FoundDockerfile], image: str) -> tuple[str, bool]:
    one, certain = best(Slot(image, {"image": "{ref}"}, ("Deployment/x",), ()), tuple(of.values()))
    return (one.path if one else ""), certain


def test_an_image_is_made_by_the_dockerfile_that_compose_says(tmp_path: Path) -> None:
    compose = "services:\n  db: {build: mongo, image: '${REPO}/rs-store:${TAG}'}\n  web: {build: web}\n"
    of = found(tmp_path, {"mongo/Dockerfile": "FROM a\n", "web/Dockerfile": "FROM a\n", "compose.yaml": compose})
    assert of["mongo"].images == ("rs-store",)
    assert of["web"].images == ()
    assert maker(of, "robotshop/rs-store:latest") == ("mongo/Dockerfile", True)
    unsaid = {**of, "mongo": FoundDockerfile("mongo/Dockerfile", "mongo", "mongo", True)}
    assert maker(unsaid, "robotshop/rs-store") == ("", False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", "services:\n  api: {build: {context: ., dockerfile: deploy/Dockerfile}, profiles: [all]}\n"),
        ("skaffold.yaml", ARTIFACTS + "    - {image: shop/api, docker: {dockerfile: deploy/Dockerfile}}\n"),
        (
            "deploy/skaffold.yaml",
            ARTIFACTS + "    - {image: shop/api, context: .., docker: {dockerfile: deploy/Dockerfile, target: dev}}\n",
        ),
    ],
)
def test_the_context_is_the_one_that_is_said(tmp_path: Path, name: str, text: str) -> None:
    of = found(tmp_path, {"deploy/Dockerfile": "FROM a\n", "deploy/main.sh": "", name: text})
    (one,) = of.values()
    assert (one.context, one.sure, one.target) == (".", True, "")


def test_several_images_of_one_dockerfile_are_told_apart(tmp_path: Path) -> None:
    text = (
        "services:\n"
        "  a: {image: shop/orders, build: {context: ., args: {SERVICE: orders}}}\n"
        "  b: {image: shop/carts, build: {context: ., args: {SERVICE: carts}}}\n"
    )
    of = found(tmp_path, {"Dockerfile": "FROM a\nARG SERVICE\n", "compose.yaml": text})
    assert {name: dict(one.given) for name, one in of.items() if one.given} == {
        "orders": {"SERVICE": "orders"}, "carts": {"SERVICE": "carts"},
    }  # fmt: skip
    assert maker(of, "registry.example/carts:1") == ("Dockerfile", True)


def test_a_dockerfile_of_any_name_is_found_where_it_is_named(tmp_path: Path) -> None:
    text = "kind: Config\nbuild: {artifacts: [{image: api, context: build, docker: {dockerfile: api.image}}]}\n"
    of = found(tmp_path, {"build/api.image": "FROM a\nEXPOSE 8000\n", "skaffold.yaml": text})
    assert [(one.path, one.ports, one.images) for one in of.values()] == [("build/api.image", (8000,), ("api",))]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", "services:\n  api: {extends: {file: gone.yaml, service: x}, build: ., image: other}\n"),
        ("compose.yaml", "services:\n  api: {build: {context: ../elsewhere}, image: other}\n"),
        ("skaffold.yaml", "a: [\n"),
        ("skaffold.yaml", ARTIFACTS + "    - {image: other, jib: {}}\n    - {image: other, context: gone}\n"),
        ("skaffold.yaml", "kind: Config\nbuild: {artifacts: [{image: other, docker: text}]}\n"),
        ("skaffold.yaml", "kind: Other\nbuild: {artifacts: [{image: other}]}\n"),
    ],
)
def test_what_says_nothing_of_a_dockerfile_is_passed_over(tmp_path: Path, name: str, text: str) -> None:
    of = found(tmp_path, {"api/Dockerfile": "FROM a\n", name: text})
    assert [(one.path, one.context, one.images) for one in of.values()] == [("api/Dockerfile", "api", ())]
