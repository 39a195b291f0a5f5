"""Gathering what rules look at, with ports in memory: renders, trials, and what the cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.core.ports import Object, ObjectRef, UpgradeRequest
from deployer.preflight.gather import gather, objects_of
from deployer.preflight.rules.model import Subject
from deployer.state.record import ReleaseRecord, new_record, with_release
from tests.fakes import FakeKube
from tests.unit.preflight.rendering import chart, deaf_chart, target


def look(made: Subject, kube: FakeKube, render: Any, tmp_path: Path, *, thorough: bool) -> Subject:
    return gather(made.loaded, made.plan, target(kube, render, tmp_path), thorough=thorough)


@pytest.mark.parametrize("thorough", [True, False])
def test_a_chart_that_uses_its_values_is_gathered_without_doubt(
    made: Subject, kube: FakeKube, tmp_path: Path, thorough: bool
) -> None:
    seen = look(made, kube, chart, tmp_path, thorough=thorough)
    (rendered,) = seen.releases
    assert rendered.unused == ()
    assert rendered.chart["version"] == "0.1.0"
    assert seen.cluster is not None and seen.cluster.allocatable["cpu"] == 4


def test_values_that_no_template_uses_are_found(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    (rendered,) = look(made, kube, deaf_chart, tmp_path, thorough=True).releases
    assert {path for _, path in rendered.unused} == {"api.tag", "api.sums"}


def test_a_chart_that_renders_randomly_is_never_said_to_ignore_its_values(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    counted: list[None] = []

    def random(request: UpgradeRequest) -> Sequence[Object]:
        counted.append(None)
        return [*chart(request), {"kind": "ConfigMap", "metadata": {"name": f"c{len(counted)}"}}]

    (rendered,) = look(made, kube, random, tmp_path, thorough=True).releases
    assert rendered.unused == ()


def test_what_the_cluster_has_of_its_own_counts(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    def theirs(request: UpgradeRequest) -> Sequence[Object]:
        objects = list(chart(request))
        objects[0]["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "secret": {"secretName": "theirs"}}]
        return objects

    kube.put({"kind": "Secret", "metadata": {"name": "theirs", "namespace": "default"}, "data": {"a": ""}})
    seen = look(made, kube, theirs, tmp_path, thorough=False)
    assert seen.cluster is not None
    assert [(ref.name, set(keys)) for ref, keys in seen.cluster.keys.items()] == [("theirs", {"a"})]


def test_the_storage_classes_of_the_cluster_are_known(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    kube.put({"kind": "StorageClass", "metadata": {"name": "fast"}})
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert seen.cluster is not None and seen.cluster.storage_classes == {"fast"}


def test_a_release_that_the_spec_dropped_is_no_object_of_the_plan(made: Subject) -> None:
    ref = ObjectRef("Service", "default", "old")
    kept = with_release(new_record(), "old", ReleaseRecord("default", 1, "1", (ref,)))
    assert objects_of(made.plan, kept) == frozenset()
    assert objects_of(made.plan, with_release(kept, "shop", ReleaseRecord("default", 1, "1", (ref,)))) == {ref}


@pytest.mark.parametrize(
    ("dockerfile", "user"),
    [("FROM a\nUSER 1001\n", {"api": "1001"}), ("FROM a\nUSER 7\nFROM b\n", {}), ("FROM a\nUSER $ME\n", {})],
)
def test_the_user_of_an_image_is_the_last_of_its_dockerfile(
    made: Subject, kube: FakeKube, tmp_path: Path, dockerfile: str, user: dict[str, str]
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api/Dockerfile").write_text(dockerfile)
    assert look(made, kube, chart, tmp_path, thorough=False).machine.image_users == user


def test_env_files_in_build_contexts_are_found_unless_docker_ignores_them(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    (tmp_path / "api" / "conf").mkdir(parents=True)
    (tmp_path / "api" / "Dockerfile").write_text("FROM scratch\n")
    for name in ("conf/prod.env", ".env", ".env.production"):
        (tmp_path / "api" / name).write_text("API_TOKEN=x\n")
    (tmp_path / "api" / ".dockerignore").write_text(".env\n")
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert {one.path: one.certain for one in seen.machine.env_leaks["api"]} == {
        ".env.production": False,  # what a build reads by design
        "conf/prod.env": True,
    }
