"""Gathering what rules look at, with ports in memory: renders, trials, and what the cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import input_error
from deployer.core.ports import Object, ObjectRef, UpgradeRequest
from deployer.preflight.gather import gather, objects_of
from deployer.preflight.rules.judging import RULES
from deployer.preflight.rules.model import Subject
from deployer.state.record import ReleaseRecord, new_record, with_release
from tests.fakes import FakeImages, FakeKube
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


def test_the_notes_of_a_chart_make_nothing_anew(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    templates = made.plan.releases[0].chart / "templates"
    templates.mkdir(exist_ok=True)
    for name in ("NOTES.txt", "secret.yaml"):
        (templates / name).write_text("{{ randAlphaNum 8 }}")
    (rendered,) = look(made, kube, chart, tmp_path, thorough=True).releases
    assert rendered.random == ("templates/secret.yaml",)


def image_of(name: Any) -> Any:
    """The chart, whose container has the image of this name; tests give it the tag of the values."""

    def render(request: UpgradeRequest) -> Sequence[Object]:
        objects = list(chart(request))
        objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = name(request.values["api"]["tag"])
        return objects

    return render


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize(
    ("name", "image"),
    [
        (lambda tag: f"shop-api:{tag}", None),
        (lambda tag: f"docker.io/library/shop-api:{tag}", None),
        (lambda tag: f"registry.example.com/shop-api:{tag}", "registry.example.com/shop-api:1.0.0-0123456789ab"),
        (lambda tag: f"other:{tag}", "other:1.0.0-0123456789ab"),
        (lambda tag: f"shop-api:{tag}@sha256:1", "shop-api:1.0.0-0123456789ab@sha256:1"),
        (lambda tag: f"shop-api:v{tag}", "shop-api:v1.0.0-0123456789ab"),
        (lambda tag: "sidecar:1.0.0", None),
    ],
)
def test_a_mapping_that_leads_to_an_image_that_nobody_builds_is_found(
    made: Subject, kube: FakeKube, tmp_path: Path, name: Any, image: str | None, thorough: bool
) -> None:
    (rendered,) = look(made, kube, image_of(name), tmp_path, thorough=thorough).releases
    assert [one.image for one in rendered.not_built] == ([image] if image else [])
    assert all(one.location == ("releases", "shop", "images", "api", "api.tag") for one in rendered.not_built)


def test_a_chart_that_takes_no_other_values_is_judged_by_tags_of_ours(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    def checked(request: UpgradeRequest) -> Sequence[Object]:
        if not request.values["api"]["tag"].startswith("1.0.0"):
            raise input_error("CHART_RENDER", "it wants a version")
        return list(image_of(lambda tag: f"other:{tag}")(request))

    (api,) = made.plan.images
    of_content = replace(made, plan=replace(made.plan, images=(replace(api, shared="0123456789abcdef"),)))
    for subject, found in ((made, 0), (of_content, 1)):
        (rendered,) = look(subject, kube, checked, tmp_path, thorough=True).releases
        assert len(rendered.not_built) == found


def test_images_of_others_are_asked_for_where_no_registry_answered(
    made: Subject, kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []

    def silent(hosts: set[str]) -> frozenset[str]:
        asked.append(set(hosts))
        return frozenset({""})

    monkeypatch.setattr("deployer.preflight.gather.silent_registries", silent)
    daemon = FakeImages(["there:1", "there:2"])
    base = target(kube, three_images, tmp_path)
    assert base.running is not None
    base = replace(base, running=replace(base.running, open_images=lambda: daemon))
    for offline, expected in ((True, {"gone:1": "docker.io", "there:2": "docker.io"}), (False, {})):
        seen = gather(made.loaded, made.plan, replace(base, offline=offline), thorough=False)
        assert seen.machine.undeliverable == expected
    assert asked == [{"", "ghcr.io"}]


IMAGES = ("there:1", "gone:1", "ghcr.io/a:1")


def three_images(request: UpgradeRequest) -> Sequence[Object]:
    objects = list(chart(request))
    pod = objects[0]["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": f"i{at}", "image": one} for at, one in enumerate(IMAGES)]
    pod["initContainers"].append({"name": "always", "image": "there:2", "imagePullPolicy": "Always"})
    return objects


def test_what_the_cluster_has_of_its_own_counts(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    def theirs(request: UpgradeRequest) -> Sequence[Object]:
        objects = list(chart(request))
        pod = objects[0]["spec"]["template"]["spec"]
        pod["containers"][0]["envFrom"] = [{"secretRef": {"name": "theirs"}}]
        return objects

    kube.put({"kind": "Secret", "metadata": {"name": "theirs", "namespace": "default"}, "data": {"a": ""}})
    seen = look(made, kube, theirs, tmp_path, thorough=False)
    assert seen.cluster is not None
    assert [(ref.name, set(keys)) for ref, keys in seen.cluster.keys.items()] == [("theirs", {"a"})]


def test_the_storage_classes_of_the_cluster_are_known(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    kube.put({"kind": "StorageClass", "metadata": {"name": "fast"}})
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert seen.cluster is not None and seen.cluster.storage_classes == {"fast"}
    kube.put({"kind": "PersistentVolume", "metadata": {"name": "by-hand"}, "spec": {}})
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert seen.cluster is not None and seen.cluster.storage_classes == {"fast", ""}


@pytest.mark.parametrize("marked", ["true", "false"])
def test_the_ingress_classes_of_the_cluster_are_known(
    made: Subject, kube: FakeKube, tmp_path: Path, marked: str
) -> None:
    mark = {"ingressclass.kubernetes.io/is-default-class": marked}
    kube.put({"kind": "IngressClass", "metadata": {"name": "nginx", "annotations": mark}})
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert seen.cluster is not None
    assert seen.cluster.ingress_classes == ({"nginx", ""} if marked == "true" else {"nginx"})


def test_a_release_that_the_spec_dropped_is_no_object_of_the_plan(made: Subject) -> None:
    ref = ObjectRef("Service", "default", "old")
    kept = with_release(new_record(), "old", ReleaseRecord("default", 1, "1", (ref,)))
    assert objects_of(made.plan, kept) == frozenset()
    assert objects_of(made.plan, with_release(kept, "shop", ReleaseRecord("default", 1, "1", (ref,)))) == {ref}


@pytest.mark.parametrize(
    ("dockerfile", "user"),
    [
        ("FROM a\nUSER 1001\n", {"api": "1001"}),
        ("FROM a\nUSER 7\nFROM b\n", {}),
        ("FROM a\nUSER $ME\n", {}),
        ('FROM a\nUSER "1001"\n', {"api": "1001"}),
        ("FROM a\nUSER 7\nCOPY <<E /a\nUSER me\nE\n", {"api": "7"}),
    ],
)
def test_the_user_of_an_image_is_the_last_of_its_dockerfile(
    made: Subject, kube: FakeKube, tmp_path: Path, dockerfile: str, user: dict[str, str]
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api/Dockerfile").write_text(dockerfile)
    assert look(made, kube, chart, tmp_path, thorough=False).machine.image_users == user


@pytest.mark.parametrize(
    ("copy", "script", "found"),
    [
        ("COPY run.sh /run.sh", b"#!/bin/sh\r\ntrue\r\n", ["api/run.sh:1"]),
        ("COPY . /", b"#!/usr/bin/env python\r\n", ["api/run.sh:1"]),
        ("COPY run.sh /run.sh", b"#!/bin/sh\ntrue\r\n", []),
        ("COPY run.sh /run.sh\nRUN sed -i 's/\\r$//' /run.sh", b"#!/bin/sh\r\n", []),
        ("COPY other /", b"#!/bin/sh\r\n", []),
    ],
)
def test_an_entrypoint_with_the_line_ends_of_windows_is_found(
    made: Subject, kube: FakeKube, tmp_path: Path, copy: str, script: bytes, found: list[str]
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api/Dockerfile").write_text(f'FROM a\n{copy}\nENTRYPOINT ["/run.sh"]\n')
    (tmp_path / "api/run.sh").write_bytes(script)
    assert [
        one.where for one in look(made, kube, chart, tmp_path, thorough=False).machine.problems["LINE_ENDS"]
    ] == found


def test_env_files_in_build_contexts_are_found_unless_docker_ignores_them(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    (tmp_path / "api" / "conf").mkdir(parents=True)
    (tmp_path / "api" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    for name in ("conf/prod.env", ".env", ".env.production"):
        (tmp_path / "api" / name).write_text("API_TOKEN=x\n")
    (tmp_path / "api" / ".dockerignore").write_text(".env\n")
    seen = look(made, kube, chart, tmp_path, thorough=False)
    assert {one.path: one.certain for one in seen.machine.env_leaks["api"]} == {
        ".env.production": False,  # what a build reads by design
        "conf/prod.env": True,
    }


def test_env_files_with_secrets_that_helm_would_keep_are_found(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    (release,) = made.plan.releases
    source = tmp_path / made.loaded.spec.releases[release.name].chart
    for folder in (source, release.chart):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".env.production").write_text("API_TOKEN=x\n")
        (folder / ".env.example").write_text("API_TOKEN=\n")
    found = look(made, kube, chart, tmp_path, thorough=False).machine.problems["ENV_IN_CHART"]
    assert [one.title.split("`")[3] for one in found] == [".env.production"]


def test_what_is_found_in_files_is_reported_by_the_rule_that_it_is_about(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    spec = made.loaded.spec
    (tmp_path / ".env").write_text("NOT A VARIABLE\n")
    (tmp_path / ".env").chmod(0o644)
    loaded = replace(made.loaded, spec=spec.model_copy(update={"env": spec.env.model_copy(update={"files": [".env"]})}))
    problems = look(replace(made, loaded=loaded), kube, chart, tmp_path, thorough=False).machine.problems
    assert problems.keys() <= {one.name for one in RULES}
    assert [one.code for one in problems["ENV_READABLE"]] == ["ENV_MODE"]
    assert [one.code for one in problems["ENV_LINES"]] == ["ENV_SKIPPED"]
    (tmp_path / ".env").unlink()
    gone = look(replace(made, loaded=loaded), kube, chart, tmp_path, thorough=False).machine.problems
    assert not any(gone.values())


def test_values_that_the_chart_neither_knows_nor_uses_are_found(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    staged = made.plan.releases[0].chart
    sub = staged / "charts" / "redis"
    sub.mkdir(parents=True)
    (sub / "Chart.yaml").write_text("name: redis\nversion: 1.0.0\n")
    (sub / "values.yaml").write_text("auth: {user: a}\n")
    needs = "dependencies: [{name: redis, alias: cache, condition: 'cache.on,x.on'}, {name: packed}]\n"
    (staged / "Chart.yaml").write_text(f"version: 0.1.0\n{needs}")
    (staged / "values.yaml").write_text("replicaCount: 1\n")
    given = {
        **made.plan.releases[0].values, "replicaCont": 2, "unheard": 1, "global": {"a": 1}, "packed": {"b": 1},
        "cache": {"auth": {"usr": "b"}, "on": True},
    }  # fmt: skip
    (release,) = made.plan.releases
    made = replace(made, plan=replace(made.plan, releases=(replace(release, values=given),)))
    (fully,) = look(made, kube, chart, tmp_path, thorough=True).releases
    assert set(fully.without_effect) == {
        (("replicaCont",), "replicaCount"), (("unheard",), ""), (("cache", "auth", "usr"), "cache.auth.user")
    }  # fmt: skip
    (quickly,) = look(made, kube, chart, tmp_path, thorough=False).releases
    assert (("unheard",), "") not in quickly.without_effect and len(quickly.without_effect) == 2


def test_a_typo_is_found_though_a_password_is_random_until_lookup_finds_it(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    (release,) = made.plan.releases
    (release.chart / "templates").mkdir()
    (release.chart / "templates/a.yaml").write_text('{{ lookup "v1" "Secret" "a" "b" }}{{ randAlphaNum 8 }}')
    made = replace(made, plan=replace(made.plan, releases=(replace(release, values={**release.values, "typo": 1}),)))
    counted: list[None] = []

    def random(request: UpgradeRequest) -> Sequence[Object]:
        counted.append(None)
        secret = {"kind": "Secret", "metadata": {"name": "b"}, "stringData": {"password": f"p{len(counted)}"}}
        return [*chart(request), secret]

    (rendered,) = look(made, kube, random, tmp_path, thorough=True).releases
    assert (rendered.without_effect, rendered.unused) == (((("typo",), ""),), ())
