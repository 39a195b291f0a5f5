"""Names, labels and rebuilding of images; the machine's own settings in base images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Log, Warned
from deployer.core.files import open_lock, take_lock
from deployer.toolchain.files import bundled_note, pins_key, write_json
from deployer.toolchain.model import Toolchain
from deployer.toolchain.pins import CNI_PLUGINS, CONTROL_PLANE, KINDNETD
from deployer.toolchain.source import base_images, debian, images, node
from deployer.toolchain.source.images import BuildHost, Recipe, ensure_image
from tests.unit.toolchain.support import finish, nothing, program

# Remembers labels of built images in files; the last word of `build` is the context.
FAKE_DOCKER = """
echo "$@" >> "$STORE/calls"
case $1 in
image)
  for ref in "$@"; do :; done
  cat "$STORE/$(echo "$ref" | tr '/:' '__')" 2> /dev/null || { echo "Error: No such image: $ref" >&2; exit 1; } ;;
build)
  for word in "$@"; do case $word in *recipe=*) label=${word#*=} ;; esac; done
  while [ "$1" != -t ]; do shift; done
  for context in "$@"; do :; done
  ls "$context"
  [ -e "$STORE/broken" ] && { echo 'E: no such package'; exit 100; }
  echo "$label" > "$STORE/$(echo "$2" | tr '/:' '__')" ;;
esac
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/calls").touch()
    return tmp_path / "store"


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    return program(tmp_path, "docker", FAKE_DOCKER)


def env(store: Path, **more: str) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "STORE": str(store), "HOME": str(store), **more}


def builds(store: Path) -> int:
    return sum(line.startswith("build ") for line in (store / "calls").read_text().splitlines())


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "file").write_text("one")
    program(tmp_path / "tool-0123456789ab", "tool", "exit 0")
    return Recipe(
        "todo-deploy.local/x:1",
        tmp_path / "Dockerfile",
        {"file": tmp_path / "file"},
        {"tool": tmp_path / "tool-0123456789ab/tool"},
    )


def test_an_image_is_built_when_missing_and_never_without_reason(
    docker: Path, recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    assert finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe), events) is True
    assert finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe)) is False
    assert builds(store) == 1
    lines = {event.line for event in events if isinstance(event, Log)}
    assert lines == {"Dockerfile", "file", "tool"}
    assert not list((tmp_path / "toolchain/work").iterdir())


def test_an_image_of_a_bundle_is_kept_although_this_machine_would_label_it_otherwise(
    docker: Path, recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    (store / "todo-deploy.local_x_1").write_text("label-of-another-machine\n")
    note = {"key": pins_key(), "labels": {recipe.ref: "label-of-another-machine"}}
    write_json(bundled_note(tmp_path), note)
    assert finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe)) is False
    write_json(bundled_note(tmp_path), {**note, "key": "of an earlier version"})
    assert finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe)) is True


@pytest.mark.parametrize("change", ["file", "dockerfile", "argument", "program", "parent"])
def test_whatever_decides_the_content_rebuilds_it(
    docker: Path, recipe: Recipe, store: Path, tmp_path: Path, change: str
) -> None:
    finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe))
    if change == "file":
        (tmp_path / "file").write_text("two")
    elif change == "dockerfile":
        (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=b\n")
    elif change == "argument":
        recipe = replace(recipe, arguments={"A": "b"})
    elif change == "program":
        recipe = replace(recipe, programs={"tool": program(tmp_path / "tool-ba9876543210", "tool", "exit 0")})
    else:
        recipe = replace(recipe, parent="another")
    assert finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe)) is True


def test_a_build_that_fails_shows_its_last_lines(docker: Path, recipe: Recipe, store: Path, tmp_path: Path) -> None:
    (store / "broken").touch()
    with pytest.raises(DeployError) as caught:
        finish(ensure_image(BuildHost(docker, tmp_path, env(store)), recipe))
    assert caught.value.problems[0].code == "TOOLCHAIN_IMAGE"
    assert "E: no such package" in caught.value.problems[0].detail


def test_proxies_reach_builds_without_their_values_in_argv(
    docker: Path, recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    finish(ensure_image(BuildHost(docker, tmp_path, env(store, HTTPS_PROXY="http://me:secret@proxy:1")), recipe))
    calls = (store / "calls").read_text()
    assert "--build-arg HTTPS_PROXY" in calls
    assert "secret" not in calls


def test_minikubes_copy_of_a_rebuilt_image_is_removed(tmp_path: Path) -> None:
    ref = next(image.ref for image in CONTROL_PLANE if "coredns" in image.ref)
    cached = tmp_path / ".minikube/cache/images" / node.architecture() / ref.replace(":", "_")
    cached.parent.mkdir(parents=True)
    for given in (str(tmp_path), str(tmp_path / ".minikube")):
        cached.touch()
        node.forget_cached(ref, {"MINIKUBE_HOME": given})
        assert not cached.exists()
    node.forget_cached(ref, {"HOME": str(tmp_path)})


def test_names_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = (node.node_os({}).ref, node.node_ref(tmp_path, {}), node.node_os({}).digest())
    monkeypatch.setattr(node, "base_digest", lambda _: "another machine")
    two = (node.node_os({}).ref, node.node_ref(tmp_path, {}), node.node_os({}).digest())
    assert one[:2] == two[:2]
    assert one[2] != two[2]
    assert "latest" not in one[1] and "@" not in one[1]


@pytest.mark.parametrize(
    ("upstreams", "start"),
    [
        (
            ["python:3.11-slim", "python:3.11", "docker.io/library/python:3.11.9-alpine", "python:3.11@sha256:1"],
            "todo-deploy.local/python:3.11-",
        ),
        (["node:24-alpine", "node:24", "library/node:24.19.0-bookworm-slim"], "todo-deploy.local/node:24-"),
        (["node:18-alpine", "node:18", "library/node:18.20.4-bookworm-slim"], "todo-deploy.local/node:18-"),
        (["nginx:alpine", "nginx", "nginx:1.27-alpine"], "todo-deploy.local/nginx:1.22-"),
        (["postgres:15-alpine", "postgres:15"], "todo-deploy.local/postgres:15-"),
    ],
)
def test_a_family_shares_one_replacement_image(upstreams: list[str], start: str) -> None:
    names = {base_images.replacement_of(upstream) for upstream in upstreams}
    assert len(names) == 1
    assert str(names.pop()).startswith(start)


@pytest.mark.parametrize(
    "upstream", ["python:3.12-slim", "python", "node:20-alpine", "postgres:16", "ghcr.io/x/node:18"]
)
def test_what_debian_does_not_have_has_no_replacement_image(upstream: str) -> None:
    assert base_images.replacement_of(upstream) is None


def toolchain(docker: Path, offline: bool) -> Toolchain:
    return Toolchain("source", "", docker, docker, docker, docker, docker, {}, "v1", None, None, offline)


def test_replacement_images_are_made_only_where_images_cannot_be_pulled(
    docker: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_images, "ensure_base", nothing)
    names = ["python:3.11-slim", "python:3.11-alpine", "alpine:3"]
    assert finish(base_images.ensure_replacements(names, toolchain(docker, False), tmp_path, env(store))) == {}
    assert builds(store) == 0
    made = finish(base_images.ensure_replacements(names, toolchain(docker, True), tmp_path, env(store)))
    assert made == {name: base_images.replacement_of(name) for name in names[:2]}
    assert builds(store) == 1
    with open_lock(tmp_path / "toolchain" / "lock") as another:  # what is there needs nobody else's work
        assert take_lock(another)
        steps = base_images.ensure_replacements(names, toolchain(docker, True), tmp_path, env(store))
        assert next(steps, None) is None


def test_the_machines_index_is_handed_over_and_credentials_are_not(
    docker: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_images, "ensure_base", nothing)
    events: list[Event] = []
    settings = {
        "PIP_INDEX_URL": "https://index.example/simple",
        "NPM_CONFIG_REGISTRY": "https://me:secret@npm.example/",
    }
    names = ["python:3.11-slim", "node:18-alpine"]
    finish(base_images.ensure_replacements(names, toolchain(docker, True), tmp_path, env(store, **settings)), events)
    calls = (store / "calls").read_text()
    assert "PIP_INDEX_URL=https://index.example/simple" in calls
    assert "secret" not in calls
    assert [event.problem.code for event in events if isinstance(event, Warned)] == ["TOOLCHAIN_CREDENTIALS"]


def test_pip_and_npm_settings_are_read() -> None:
    text = "[global]\nindex-url = https://a.example/simple\ntrusted-host =\n  a.example\n  b.example\n"
    assert base_images.pip_settings(text) == {
        "PIP_INDEX_URL": "https://a.example/simple",
        "PIP_TRUSTED_HOST": "a.example b.example",
    }
    assert base_images.pip_settings("no section") == {}
    assert base_images.npm_settings("audit=false\nregistry = https://n.example/\n") == {
        "NPM_CONFIG_REGISTRY": "https://n.example/"
    }


def test_the_base_image_follows_the_machines_ca_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("one")
    first = debian.base_digest({"SSL_CERT_FILE": str(tmp_path / "ca")})
    (tmp_path / "ca").write_text("two")
    assert debian.base_digest({"SSL_CERT_FILE": str(tmp_path / "ca")}) != first
    assert images.OURS in debian.base_ref()


def test_a_bundle_carries_every_image_whose_recipe_fetches_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "built", lambda *_: tmp_path)
    for name in ("crictl", "cri-dockerd", "runc-fit", *(Path(name).name for name in CNI_PLUGINS)):
        (tmp_path / name).touch()
    carried = node.cluster_images(tmp_path, {})
    assert {next(one.ref for one in CONTROL_PLANE if "pause" in one.ref), KINDNETD} <= set(carried)
    rest = [one for one in CONTROL_PLANE if one.ref not in carried]
    assert any("kube-apiserver" in one.ref for one in rest)
    for one in rest:
        assert "RUN" not in (node.RECIPES / "images" / one.dockerfile).read_text(), one.ref
