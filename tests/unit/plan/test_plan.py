from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode
from deployer.plan import (
    ChartSource,
    Facts,
    ImageSource,
    Plan,
    expand,
    generated_keys,
    make_plan,
    missing_keys,
    switch_states,
    with_digests,
)
from deployer.plan.tags import Commit

ROOT = Path("project")
DIGEST = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
DOCUMENT: dict[str, Any] = {
    "apiVersion": "todo-deploy/v1",
    "application": "todo",
    "namespace": "apps",
    "switches": {"database": {"whenUnset": "DATABASE_URL"}, "mail": {"whenSet": "MAIL_HOST"}},
    "images": {
        "api": {"repository": "todo-api", "context": "api", "bases": {"PYTHON": "python:3.11-slim"},
                "args": {"A": "1"}},
        "db": {"repository": "todo-db", "context": "db", "dockerfile": "docker/db", "when": "database"},
    },
    "secrets": {
        "app": {
            "naming": "stable",
            "keys": {
                "DATABASE_URL": {"default": "postgresql://u:${DB_PASSWORD|url}@db/x"},
                "TOKEN": {"kind": "generated", "length": 20},
                "KEY": {"kind": "optional", "from": "API_KEY"},
            },
        },
        "db": {"when": "database", "keys": {"DB_PASSWORD": {"kind": "generated"}}},
    },
    "releases": {
        "app": {
            "chart": "chart",
            "values": {"replicas": 2, "web": {"url": "${url:web}/login"}, "list": ["${url:web}"]},
            "images": {"api": {"api.image": "{ref}", "api.tag": "{tag}", "api.name": "{registry}{name}"},
                       "db": {"db.image": "{ref}"}},
            "secrets": {"app": {"secretName": "{name}", "checksums.app": "{checksums}", r"notes.a\.b": "{checksum}"},
                        "db": {"db.secretName": "{name}"}},
            "switches": {"database": ["db.enabled", "flags.database"]},
            "timeout": "2m",
        }
    },
    "urls": {"web": {"service": "web", "nodePort": 30000}, "mail": {"service": "mail", "when": "mail", "show": False}},
}  # fmt: skip
ENV = {"TOKEN": "canary-token", "DB_PASSWORD": "p@ss/w", "API_KEY": ""}


def spec(change: Mapping[str, Any] | None = None) -> Spec:
    document = copy.deepcopy(DOCUMENT)
    for path, value in (change or {}).items():
        *parents, last = path.split("/")
        place = document
        for key in parents:
            place = place[key]
        place[last] = value
    return Spec.model_validate(document)


def test_an_image_that_is_built_on_another_names_it_by_its_tag_and_comes_after_it() -> None:
    on = {"todo-db:latest": "db"}
    images = {"db": ImageSource(OTHER, {}), "api": ImageSource(DIGEST, {}, {"x": "y"}, on=on)}
    db, api = make_plan(spec(), ROOT, facts(images=images, registry="example.com/r")).images
    assert (db.name, api.name) == ("db", "api")
    assert api.source.bases == {"x": "y", "todo-db:latest": db.ref} and db.ref in api.bases
    assert db.ref.startswith("example.com/r/todo-db:")


def facts(env: Mapping[str, str] = ENV, **more: Any) -> Facts:
    known: dict[str, Any] = {
        "env": env,
        "salt": "salt",
        "images": {"api": ImageSource(DIGEST, {}), "db": ImageSource(OTHER, {})},
        "charts": {"app": ChartSource("chart-digest", Path("staged"))},
        "replacements": {},
        "used_tags": {},
        "addresses": {"web": "http://192.0.2.1:30000"},
        "commit": None,
    }
    return Facts(**{**known, **more})


def plan(env: Mapping[str, str] = ENV, change: Mapping[str, Any] | None = None, **more: Any) -> Plan:
    return make_plan(spec(change), ROOT, facts(env, **more))


def refusal(**more: Any) -> DeployError:
    with pytest.raises(DeployError) as caught:
        plan(**more)
    assert caught.value.exit_code is ExitCode.INPUT
    return caught.value


def values(made: Plan) -> Mapping[str, Any]:
    return made.releases[0].values


def test_the_same_facts_make_the_same_plan() -> None:
    assert plan() == plan()
    shuffled = dict(reversed(list(ENV.items())))
    assert plan(shuffled).releases[0].inputs == plan().releases[0].inputs


def test_an_image_is_named_by_its_content() -> None:
    api = plan().images[0]
    assert (api.ref, api.context, api.dockerfile) == (
        f"todo-api:0.1.0-{DIGEST[:12]}", ROOT / "api", ROOT / "api" / "Dockerfile"
    )  # fmt: skip
    assert plan().images[1].dockerfile == ROOT / "docker/db"
    assert api.labels["todo-deploy.dev/digest"] == DIGEST


def test_changed_content_changes_the_tag_and_the_release() -> None:
    changed = plan(images={"api": ImageSource(OTHER, {}), "db": ImageSource(OTHER, {})})
    assert changed.images[0].tag != plan().images[0].tag
    assert changed.releases[0].inputs != plan().releases[0].inputs


@pytest.mark.parametrize(
    "change",
    [
        {"releases/app/values/replicas": 3},
        {"releases/app/secrets/app/extra": "{checksum}"},
    ],
)
def test_changed_values_change_the_inputs(change: dict[str, Any]) -> None:
    assert plan(change=change).releases[0].inputs != plan().releases[0].inputs


def test_a_changed_chart_changes_the_inputs() -> None:
    changed = plan(charts={"app": ChartSource("other", Path("staged"))})
    assert changed.releases[0].inputs != plan().releases[0].inputs


def test_where_the_chart_is_staged_does_not_count() -> None:
    moved = plan(charts={"app": ChartSource("chart-digest", Path("elsewhere"))})
    assert moved.releases[0].inputs == plan().releases[0].inputs


def test_a_changed_secret_changes_its_copy_and_the_release() -> None:
    changed = plan({**ENV, "TOKEN": "other"})
    assert changed.secrets[0].copy != plan().secrets[0].copy
    assert changed.secrets[0].checksums["KEY"] == plan().secrets[0].checksums["KEY"]
    assert changed.releases[0].inputs != plan().releases[0].inputs


def test_names_of_secrets() -> None:
    app, database = plan().secrets
    assert (app.served, app.copy) == ("app", f"app-{app.checksum[:8]}")
    assert (database.stable, database.served) == (None, database.copy)


def test_another_salt_gives_other_names_for_the_same_values() -> None:
    assert plan(salt="other").secrets[0].copy != plan().secrets[0].copy


def test_equal_values_of_two_keys_cannot_be_seen_to_be_equal() -> None:
    same = {**ENV, "API_KEY": ENV["TOKEN"]}
    checksums = plan(same).secrets[0].checksums
    assert checksums["KEY"] != checksums["TOKEN"]


def test_values_of_secrets() -> None:
    data = plan().secrets[0].data
    assert data == {"DATABASE_URL": "postgresql://u:p%40ss%2Fw@db/x", "TOKEN": "canary-token", "KEY": ""}


def test_a_given_value_wins_over_the_default() -> None:
    assert plan({**ENV, "DATABASE_URL": "given"}).secrets[0].data["DATABASE_URL"] == "given"


def test_no_value_of_a_secret_is_shown_or_handed_to_helm() -> None:
    made, given = plan(), facts()
    for shown in (repr(made), str(made.secrets[0]), json.dumps(dict(values(made))), repr(given)):
        assert "canary-token" not in shown
        assert "p@ss/w" not in shown and "p%40ss" not in shown
    assert "salt='" not in repr(given)


def test_images_and_secrets_reach_the_chart_by_their_templates() -> None:
    made = plan()
    got = values(made)
    assert got["api"] == {"image": made.images[0].ref, "tag": made.images[0].tag, "name": "todo-api"}
    assert got["secretName"] == "app"
    assert got["checksums"]["app"] == made.secrets[0].checksums
    assert got["notes"] == {"a.b": made.secrets[0].checksum}
    assert got["db"]["secretName"] == made.secrets[1].copy
    assert got["replicas"] == 2


def test_the_values_of_the_spec_are_left_as_they_are() -> None:
    wanted = spec()
    before = json.dumps(wanted.model_dump())
    make_plan(wanted, ROOT, facts())
    assert json.dumps(wanted.model_dump()) == before


@pytest.mark.parametrize(("given", "on"), [({}, True), ({"DATABASE_URL": ""}, True), ({"DATABASE_URL": "x"}, False)])
def test_a_switch_turns_parts_and_values_on_and_off(given: dict[str, str], on: bool) -> None:
    made = plan({**ENV, **given})
    assert [image.name for image in made.images] == (["api", "db"] if on else ["api"])
    assert [secret.name for secret in made.secrets] == (["app", "db"] if on else ["app"])
    assert (values(made)["db"]["enabled"], values(made)["flags"]["database"]) == (on, on)
    assert made.releases[0].images == (("api", "db") if on else ("api",))
    assert ("image" in values(made)["db"]) is on


def test_a_switch_of_a_url() -> None:
    assert [url.name for url in plan().urls] == ["web"]
    assert [url.name for url in plan({**ENV, "MAIL_HOST": "m"}).urls] == ["web", "mail"]


def test_switch_states_are_shown_for_all() -> None:
    assert switch_states(spec(), {"MAIL_HOST": "x"}) == {"database": True, "mail": True}
    assert switch_states(spec(), {"DATABASE_URL": "x"}) == {"database": False, "mail": False}


def test_addresses_of_urls_are_inserted_wherever_they_are_named() -> None:
    got = values(plan())
    assert (got["web"]["url"], got["list"]) == ("http://192.0.2.1:30000/login", ["http://192.0.2.1:30000"])


def test_a_url_without_an_address_is_an_input_error() -> None:
    error = refusal(addresses={})
    assert error.problems[0].code == "URL_REFERENCE"
    assert "`web`" in error.problems[0].title


@pytest.mark.parametrize("path", ["replicas.deep", "web.url.deeper", "list.a"])
def test_a_value_path_through_something_that_is_no_map_is_an_input_error(path: str) -> None:
    error = refusal(change={"releases/app/images/api": {path: "{tag}"}})
    assert error.problems[0].code == "VALUE_PATH"
    assert path in error.problems[0].title


@pytest.mark.parametrize("template", ["{size}", "{tag", "{}", "{tag.x}"])
def test_a_template_out_of_shape_is_an_input_error(template: str) -> None:
    error = refusal(change={"releases/app/images/api": {"api.image": template}})
    assert error.problems[0].code == "VALUE_TEMPLATE"
    assert "{ref}" in error.problems[0].hints[0]


def test_a_default_that_needs_an_absent_value_is_an_input_error() -> None:
    error = refusal(env={"TOKEN": "x"})
    assert error.problems[0].code == "ENV_REFERENCE"
    assert "`DB_PASSWORD`" in error.problems[0].title


def test_expansion() -> None:
    env = {"A": "a b/c", "B": "2"}
    assert expand("${A}-${B}-${A|url}", env) == "a b/c-2-a%20b%2Fc"
    assert expand("$A ${} $${x y}", env) == "$A ${} $${x y}"


def test_missing_keys_are_those_required_without_a_default() -> None:
    wanted = spec({"secrets/app/keys/NEEDED": {"from": "SOURCE"}})
    assert missing_keys(wanted, {}) == {"SOURCE": ("app", "NEEDED")}
    assert missing_keys(wanted, {"SOURCE": ""}) == {"SOURCE": ("app", "NEEDED")}
    assert missing_keys(wanted, {"SOURCE": "x"}) == {}


def test_what_is_switched_off_misses_and_generates_nothing() -> None:
    wanted = spec({"secrets/db/keys/NEEDED": {}})
    assert missing_keys(wanted, {"DATABASE_URL": "x"}) == {}
    assert generated_keys(wanted, {"DATABASE_URL": "x"}) == {"TOKEN": 20}
    assert generated_keys(wanted, {}) == {"TOKEN": 20, "DB_PASSWORD": 43}
    assert generated_keys(wanted, {"TOKEN": "x", "DB_PASSWORD": ""}) == {"DB_PASSWORD": 43}


def test_base_images_are_handed_over_with_their_replacements() -> None:
    assert plan().images[0].args == {"A": "1", "PYTHON": "python:3.11-slim"}
    replaced = plan(replacements={"python:3.11-slim": "local/python:1"}).images[0]
    assert (replaced.args["PYTHON"], replaced.bases) == ("local/python:1", ("local/python:1",))


def test_base_images_that_the_dockerfile_names_are_supplied_too() -> None:
    source = ImageSource(DIGEST, {}, {"node:18-alpine": "local/node:1"})
    made = plan(images={"api": source, "db": ImageSource(OTHER, {})}).images[0]
    assert made.bases == ("python:3.11-slim", "local/node:1")


def test_the_commit_is_on_the_image_and_not_in_its_tag() -> None:
    dirty, clean = plan(commit=Commit("a" * 40, False)), plan(commit=Commit("a" * 40, True))
    name = "org.opencontainers.image.revision"
    assert (clean.images[0].labels[name], dirty.images[0].labels[name]) == ("a" * 40, "a" * 40 + "-dirty")
    assert clean.images[0].tag == dirty.images[0].tag == plan().images[0].tag


def test_a_used_version_gets_the_next_patch() -> None:
    made = plan(change={"images/api/tagPolicy": "semver"}, used_tags={"todo-api": {"0.1.0": OTHER}})
    assert made.images[0].tag == "0.1.1"
    same = plan(change={"images/api/tagPolicy": "semver"}, used_tags={"todo-api": {"0.1.0": DIGEST}})
    assert same.images[0].tag == "0.1.0"


def test_namespaces_are_named_once_with_the_specs_first() -> None:
    made = plan(change={"secrets/db/namespace": "data", "releases/app/namespace": "data"})
    assert made.namespaces == ("apps", "data")


def test_times() -> None:
    assert plan().releases[0].timeout == 120
    assert plan(change={"releases/app/timeout": None}).releases[0].timeout == 300


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        plan().namespace = "other"  # type: ignore[misc]
    assert replace(plan(), namespace="other").namespace == "other"


def test_values_lie_over_values_files() -> None:
    under = ChartSource("chart-digest", Path("staged"), {"a": {"b": 1, "c": 2}, "replicas": 1})
    made = plan(charts={"app": under}, change={"releases/app/values": {"a": {"c": 3}}})
    assert values(made)["a"] == {"b": 1, "c": 3}
    assert values(made)["replicas"] == 1
    assert under.values == {"a": {"b": 1, "c": 2}, "replicas": 1}


def test_a_release_that_is_off_is_no_part_of_the_plan_and_nobody_needs_it() -> None:
    second = {"releases/base": {"chart": "c", "when": "mail"}, "releases/app/needs": ["base"]}
    known = {"app": ChartSource("chart-digest", Path("staged")), "base": ChartSource("base", Path("b"))}
    off = plan(change=second, charts=known)
    assert [(one.name, one.needs) for one in off.releases] == [("app", ())]
    on = plan({**ENV, "MAIL_HOST": "mail"}, change=second, charts=known)
    assert [(one.name, one.needs) for one in on.releases] == [("app", ("base",)), ("base", ())]


def test_a_tag_without_its_commit_is_marked_with_the_reason() -> None:
    policy = {"images/api/tagPolicy": "semver-commit"}
    clean, dirty, outside = (plan(change=policy, commit=commit).images[0]
                             for commit in (Commit("a" * 40, True), Commit("a" * 40, False), None))  # fmt: skip
    assert (clean.tag, clean.tag_note) == ("0.1.0-aaaaaaa", "")
    assert (dirty.tag, dirty.tag_note) == (f"0.1.0-{DIGEST[:12]}", "the tree differs from commit aaaaaaa")
    assert outside.tag_note == "not in a git repository"


def test_the_base_of_an_image_is_on_it() -> None:
    made = plan(
        change={"images/api/bases": {"BASE": "python:3.11-slim"}}, replacements={"python:3.11-slim": "local/py:1"}
    )
    assert made.images[0].labels["org.opencontainers.image.base.name"] == "local/py:1"


def image_at(mapping: Mapping[str, Mapping[str, str]], **more: Any) -> Plan:
    return plan(change={"releases/app/images": mapping}, **more)


def test_a_value_in_a_list_is_set_in_the_charts_own_list() -> None:
    own = {"services": [{"name": "web", "image": {"tag": "1"}, "port": 80}, {"name": "job"}]}
    charts = {"app": ChartSource("d", Path("staged"), {}, own)}
    for path in ("services[0].image.tag", "services[web].image.tag"):
        made = image_at({"api": {path: "{tag}"}}, charts=charts)
        web, job = values(made)["services"]
        assert web == {"name": "web", "image": {"tag": made.images[0].tag}, "port": 80} and job == {"name": "job"}
    assert own["services"][0]["image"] == {"tag": "1"}
    given = {"releases/app/values": {"services": [{"name": "web"}]}}
    change = {**given, "releases/app/images": {"api": {"services[web].tag": "{tag}"}}}
    assert list(values(plan(change=change, charts=charts))["services"][0]) == ["name", "tag"]


def test_a_path_that_a_list_does_not_have_is_refused_at_its_line() -> None:
    charts = {"app": ChartSource("d", Path("staged"), {}, {"services": [{"name": "web"}]})}
    where = lambda *location: ":".join(map(str, location))  # noqa: E731
    for path in ("services[job].tag", "services[4].tag", "services[0].name.tag"):
        with pytest.raises(DeployError) as caught:
            image_at({"api": {path: "{tag}"}}, charts=charts, origin=where)
        (problem,) = caught.value.problems
        assert (problem.code, problem.where) == ("VALUE_PATH", f"releases:app:images:api:{path}")


def test_images_whose_tag_is_one_value_get_one_tag_that_changes_with_each_of_them() -> None:
    mapping = {"api": {"global.tag": "{tag}"}, "db": {"global.tag": "{tag}", "db.image": "{ref}"}}
    env = {**ENV, "DATABASE_URL": ""}
    first = image_at(mapping, env=env)
    assert len({image.tag for image in first.images}) == 1
    assert values(first)["global"]["tag"] == first.images[0].tag
    assert all(image.labels["todo-deploy.dev/digest"] == image.content for image in first.images)
    changed = image_at(mapping, env=env, images={"api": ImageSource(DIGEST, {}), "db": ImageSource("1" * 64, {})})
    assert changed.images[0].tag == changed.images[1].tag != first.images[0].tag
    alone = image_at({"api": {"global.tag": "{tag}"}, "db": {"db.image": "{ref}"}}, env=env)
    assert alone.images[0].tag == f"0.1.0-{DIGEST[:12]}"


def test_two_texts_for_one_value_are_refused() -> None:
    with pytest.raises(DeployError) as caught:
        image_at({"api": {"image": "{ref}"}, "db": {"image": "{ref}"}}, env={**ENV, "DATABASE_URL": ""})
    assert caught.value.problems[0].code == "VALUE_TWICE"


@pytest.mark.parametrize(
    ("repository", "registry", "name"),
    [("todo-api", "docker.io", "todo-api"), ("ghcr.io/acme/api", "ghcr.io", "acme/api"),
     ("localhost:5000/api", "localhost:5000", "api"), ("acme/api", "docker.io", "acme/api")],
)  # fmt: skip
def test_registry_and_name_are_the_parts_of_the_repository(repository: str, registry: str, name: str) -> None:
    change = {
        "images/api/repository": repository,
        "releases/app/images": {"api": {"r": "{registry}", "n": "{name}", "all": "{repository}"}},
    }
    found = values(plan(change=change))
    assert (found["r"], found["n"], found["all"]) == (registry, name, repository)


def test_the_objects_of_the_builtin_chart_are_called_like_the_release() -> None:
    change = {"releases/app/chart": "builtin:component", "releases/app/values": {"service": {"type": "NodePort"}}}
    made = values(plan(change=change))
    assert (made["name"], made["service"]) == ("app", {"name": "app", "type": "NodePort"})
    assert values(plan(change={**change, "releases/app/values": {"name": "x"}}))["name"] == "x"


BY_DIGEST = {"releases/app/images/api": {"api.image": "{ref}@{digest}", "api.digest": "{digest}"}}


def test_a_registry_stands_before_the_names_of_images_that_have_none() -> None:
    made = plan(registry="r.example.com:5000/team", pushed=True,
                change={"images/db": {"repository": "ghcr.io/other/db", "context": "db"}})  # fmt: skip
    assert [one.repository for one in made.images] == ["r.example.com:5000/team/todo-api", "ghcr.io/other/db"]
    assert made.releases[0].values["api"]["name"] == "r.example.com:5000team/todo-api"


def test_a_digest_is_filled_in_once_the_registry_has_given_it_and_changes_no_inputs() -> None:
    made = plan(change=BY_DIGEST, registry="r.example.com", pushed=True)
    given = f"sha256:{OTHER}"
    done = with_digests(made, {"api": given, "db": ""})
    assert done.releases[0].values["api"]["image"] == f"{made.images[0].ref}@{given}"
    assert done.releases[0].values["api"]["digest"] == given
    assert done.releases[0].inputs == made.releases[0].inputs
    assert made.releases[0].values["api"]["digest"] == made.images[0].unknown_digest


def test_without_a_registry_nothing_stands_for_a_digest() -> None:
    values = plan(change=BY_DIGEST).releases[0].values
    assert "@" not in values["api"]["image"] and values["api"]["digest"] == ""


def test_every_namespace_of_a_release_gets_the_pull_secret_and_no_revision_keeps_it() -> None:
    change = {"registry": {"address": "r.example.com", "pullSecret": "pull"}}
    held = '{"auths": {"r.example.com": {"password": "canary"}}}'
    (made,) = (one for one in plan(change=change, pushed=True, pull_config=held).secrets if one.of_registry)
    assert (made.served, made.namespace, made.type) == ("pull", "apps", "kubernetes.io/dockerconfigjson")
    assert dict(made.data) == {".dockerconfigjson": held} and "canary" not in repr(made)
    assert not [one for one in plan(change=change).secrets if one.of_registry]
