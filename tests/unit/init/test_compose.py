"""The draft: what was found is said with its reason, what was not is asked, and what nobody answered is marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.config.load import load_spec
from deployer.core.errors import input_error
from deployer.init import match
from deployer.init.compose import compose, questions
from deployer.init.model import Answers, Exposed, FoundChart, FoundDockerfile, Reading, Repository, SecretNeed, Slot
from deployer.init.read import hosts, release_names
from deployer.init.write import as_yaml
from tests.unit.init.charts import chart, refused, service

API = FoundDockerfile("api/Dockerfile", "api", "api", True, {"BASE": "python:3.11-slim"}, {"V": "1"}, (8000,))
WEB = FoundDockerfile("docker/web.Dockerfile", "web", "services/web", False, {}, {"KEY": ""}, (3000,))


def slot(named: str, user: str, port: int = 0, /, **values: str) -> Slot:
    return Slot(named, values, (f"deployment/{user}",), (port,) if port else ())


def reading(*slots: Slot, secrets: tuple[SecretNeed, ...] = (), exposed: tuple[Exposed, ...] = ()) -> Reading:
    return Reading(chart({}, "shop", "1.2.3"), "shop", slots, secrets, exposed)


def repo(*dockerfiles: FoundDockerfile, env: dict[str, str] | None = None, **more: Any) -> Repository:
    return Repository(Path("/src/My Shop"), dockerfiles, (), env or {}, **more)


def drafted(tmp_path: Path, found: Repository, *readings: Reading, answers: Answers | None = None) -> tuple[Any, str]:
    """The document and the text of the draft, which loads as a spec."""
    draft = compose(found, readings, answers or {})
    text = as_yaml(draft, "Drafted.")
    path = tmp_path / "todo-deploy.yaml"
    path.write_text(text)
    loaded = load_spec(path)
    assert loaded.document == draft.document
    return draft.document, text


def test_images_say_who_uses_them_and_how_they_are_built(tmp_path: Path) -> None:
    one = slot("ghcr.io/acme/api:2.0.0", "api", 0, **{"api.image.repository": "{repository}", "api.image.tag": "{tag}"})
    document, text = drafted(tmp_path, repo(API), reading(one))
    assert document["application"] == document["namespace"] == "my-shop"
    assert document["images"] == {
        "api": {"repository": "api", "version": "1.2.3", "context": "api", "bases": {"BASE": "python:3.11-slim"}}
    }
    assert document["releases"]["shop"]["images"] == {"api": dict(one.values)}
    assert "# makes the image of deployment/api" in text
    assert "# guessed: the folder's name" in text


def test_a_chart_comes_after_the_one_that_defines_its_kinds(tmp_path: Path) -> None:
    operator = replace(reading(), release="operator", kinds=frozenset({"Deployment", "Redis"}))
    operator = replace(operator, chart=replace(operator.chart, path="operator", defines=frozenset({"Redis"})))
    user = replace(reading(), chart=chart({}, "user", "1.2.3"), release="user", kinds=frozenset({"Redis"}))
    document, text = drafted(tmp_path, repo(), user, operator)
    assert document["releases"]["user"]["needs"] == ["operator"]
    assert "needs" not in document["releases"]["operator"]
    assert "# what defines the kinds of its objects comes first" in text


def test_what_is_asked_and_answered_is_no_guess(tmp_path: Path) -> None:
    one = slot("web:1", "front", 3000, image="{ref}")
    found, seen = repo(WEB), reading(one)
    keys = [question.key for question in questions(found, [seen], {})]
    assert keys == ["application", "context:web", "arg:web:KEY"]
    document, text = drafted(tmp_path, found, seen)
    assert document["images"]["web"]["context"] == "services/web"
    assert document["images"]["web"]["dockerfile"] == "docker/web.Dockerfile"
    assert "guessed: what it copies was not found for certain" in text
    assert "build argument KEY has no default and is left empty" in text
    answers = {"application": "shop", "context:web": ".", "arg:web:KEY": "abc"}
    document, text = drafted(tmp_path, found, seen, answers=answers)
    assert (document["application"], document["images"]["web"]["context"]) == ("shop", ".")
    assert document["images"]["web"]["args"] == {"KEY": "abc"}
    assert "guessed" not in text
    assert questions(found, [seen], answers) == ()


def test_an_image_that_nothing_here_makes_is_left_to_its_chart(tmp_path: Path) -> None:
    foreign = slot("postgres:15", "db", 5432, image="{ref}")
    fixed = slot("busybox:1", "init")
    document, text = drafted(tmp_path, repo(API), reading(foreign, fixed))
    assert "images" not in document and "images" not in document["releases"]["shop"]
    assert "# - deployment/db: image `postgres:15` is left as the chart has it" in text
    assert "# - deployment/init: image `busybox:1` is written in a template" in text
    assert "# - api/Dockerfile: no chart was found that uses its image" in text
    (asked,) = [one for one in questions(repo(API), [reading(foreign)], {}) if one.key.startswith("image:")]
    assert (asked.default, asked.choices) == ("none", ("api", "none"))
    document, _ = drafted(tmp_path, repo(API), reading(foreign), answers={"image:shop:0": "api"})
    assert document["releases"]["shop"]["images"] == {"api": {"image": "{ref}"}}


@pytest.mark.parametrize(
    ("found", "name", "certain"),
    [
        (slot("ghcr.io/acme/api:1", "x", a="{ref}"), "api", True),
        (slot("", "x", 0, **{"web.image.tag": "{tag}"}), "web", True),
        (slot("other:1", "api", a="{ref}"), "api", True),
        (slot("shop-web-server:1", "x", a="{ref}"), "web", False),
        (slot("other:1", "x", 3000, a="{ref}"), "web", False),
        (slot("other:1", "x", a="{ref}"), None, False),
        (slot("api:1", "x"), None, True),
    ],
)
def test_names_say_which_dockerfile_it_is_and_ports_are_a_hint(found: Slot, name: str | None, certain: bool) -> None:
    best, sure = match.best(found, [API, WEB])
    assert (best.name if best else None, sure) == (name, certain)


def test_secrets_get_their_values_from_where_the_env_file_has_them(tmp_path: Path) -> None:
    needs = (
        SecretNeed("auth", {"api-token": True, "session-secret": True, "mail": False}, False, ("auth.existingSecret",)),
        SecretNeed("fixed", {"DATABASE_URL": True}, False, ()),
    )
    env = {"SHOP_TOKEN": "change-me", "DATABASE_URL": "postgres://x"}
    found, seen = repo(env=env), reading(secrets=needs)
    document, text = drafted(tmp_path, found, seen)
    assert document["secrets"]["auth"] == {
        "keys": {
            "api-token": {"from": "SHOP_TOKEN"},
            "session-secret": {"from": "SESSION_SECRET", "kind": "generated"},
            "mail": {"from": "MAIL", "kind": "optional"},
        }
    }
    assert document["secrets"]["fixed"] == {"naming": "stable", "keys": {"DATABASE_URL": {}}}
    assert document["releases"]["shop"]["secrets"] == {"auth": {"auth.existingSecret": "{name}"}, "fixed": {}}
    assert "postgres://x" not in text and "change-me" not in text
    assert text.count("guessed: no env file has a value for it") == 2
    document, text = drafted(tmp_path, found, seen, answers={"kind:auth:api-token": "generated"})
    assert document["secrets"]["auth"]["keys"]["api-token"] == {"from": "SHOP_TOKEN", "kind": "generated"}
    assert text.count("guessed: no env file has a value for it") == 1


def test_a_secret_that_is_taken_whole_has_the_keys_of_the_env_file(tmp_path: Path) -> None:
    needs = (SecretNeed("all", {}, True, ()), SecretNeed("one", {"TOKEN": True}, False, ()))
    found = repo(env={"TOKEN": "1", "A": "1", "B": ""})
    document, text = drafted(tmp_path, found, reading(secrets=needs))
    assert list(document["secrets"]["all"]["keys"]) == ["A", "B"]
    assert "guessed: pods take all of it; these are the keys of the env file" in text
    document, _ = drafted(tmp_path, found, reading(secrets=needs), answers={"keys:all": "A"})
    assert list(document["secrets"]["all"]["keys"]) == ["A"]
    document, _ = drafted(tmp_path, repo(), reading(secrets=needs[:1]))
    assert document["secrets"]["all"]["keys"] == {"VALUE": {"kind": "optional"}}


def test_urls_are_what_can_be_reached_and_what_is_opened_for_it(tmp_path: Path) -> None:
    web = Exposed("web", None, 30100, "/ready")
    closed = Exposed("api", None, None, "/healthz", "service.type")
    document, text = drafted(tmp_path, repo(), reading(exposed=(closed,)))
    assert document["urls"] == {"api": {"service": "api", "path": "/healthz"}}
    assert document["releases"]["shop"]["values"] == {"service": {"type": "NodePort"}}
    assert "guessed: what its probe asks" in text
    document, _ = drafted(tmp_path, repo(), reading(exposed=(closed, web)))
    assert document["urls"] == {"web": {"service": "web", "nodePort": 30100, "path": "/ready"}}
    answers = {"expose:shop:api": "yes", "path:api": "/", "path:web": "/shop"}
    document, text = drafted(tmp_path, repo(), reading(exposed=(closed, web)), answers=answers)
    assert document["urls"]["api"] == {"service": "api"}
    assert document["urls"]["web"]["path"] == "/shop"
    document, _ = drafted(tmp_path, repo(), reading(exposed=(Exposed("", None, None, "", host="shop.local"),)))
    assert document["urls"] == {"shop-local": {"ingressHost": "shop.local"}}
    assert document["cluster"] == {"addons": ["ingress"]}


def test_a_chart_that_was_not_rendered_is_in_the_draft_with_the_reason(tmp_path: Path) -> None:
    seen = Reading(chart({}, "shop"), "shop", problem="Error: a\nno `x` is given")
    document, text = drafted(tmp_path, repo(), seen)
    assert document["releases"] == {"shop": {"chart": "deploy/shop"}}
    assert "it was not rendered (no `x` is given)" in text


def test_what_others_wrote_stays_in_its_comment(tmp_path: Path) -> None:
    seen = Reading(chart({}, "shop"), "shop", problem="Error: `x`\r  is: wrong\x85 kind: Secret")
    broken = (input_error("CHART_YAML", "cannot read it", detail="while parsing\n  in line 1\nkind: Secret"),)
    document, text = drafted(tmp_path, replace(repo(), broken=broken), seen)
    assert document["releases"] == {"shop": {"chart": "deploy/shop"}}
    assert "while parsing in line 1 kind: Secret" in text


def test_the_env_files_example_is_named_where_it_has_another_name(tmp_path: Path) -> None:
    assert drafted(tmp_path, repo(env_example=".env.sample"), reading())[0]["env"] == {"example": ".env.sample"}
    assert "env" not in drafted(tmp_path, repo(env_example=".env.example"), reading())[0]
    assert "env" not in drafted(tmp_path, repo(has_env=True), reading())[0]


def test_a_release_is_called_what_others_call_its_service() -> None:
    api, web = chart({}, "api"), chart({"url": "http://shop-api:80/x", "other": "https://example.com"}, "web")

    def render(one: Any, release: str) -> list[dict[str, Any]]:
        return [service(release if "api" in release else f"{release}-{one.name}", "x")]

    assert set(hosts(web.values)) == {"shop-api"}
    assert set(hosts({"env": [{"name": "URL", "value": "http://shop-api/x"}]})) == {"shop-api"}
    assert {name: one.name for name, one in release_names([api, web], render).items()} == {
        "shop-api": "api", "web": "web"
    }  # fmt: skip
    assert list(release_names([api, web], refused)) == ["api", "web"]
    assert list(release_names([api, api], render)) == ["api", "api-2"]
    odd = [replace(api, path=name, name=name) for name in ("Shop_API", "_")]
    assert sorted(release_names(odd, render)) == ["chart", "shop-api"]


@pytest.mark.parametrize(
    ("name", "renders"),
    [
        ("{}-web", 1),  # no release makes it a Service of the release's own name
        ("web", 2),  # nor does any where the template has the name
        ("web-{}", 1),
        ("{}", 2),
    ],
)
def test_a_chart_is_not_rendered_as_each_release_that_values_lead_to(name: str, renders: int) -> None:
    hosts_of = {f"url{number}": f"http://host{number}:80" for number in range(9)}
    made: list[str] = []

    def render(one: Any, release: str) -> list[dict[str, Any]]:
        made.append(release)
        return [service(name.format(release), "x")]

    assert list(release_names([chart(hosts_of, "web")], render)) == ["host0" if name == "{}" else "web"]
    assert len(made) == renders


def some(path: str, name: str, *slots: Slot, kinds: tuple[str, ...] = ("Deployment",), **more: Any) -> Reading:
    """The reading of the chart at the path."""
    return Reading(FoundChart(path, name, "1.0.0", {}), name, slots, kinds=frozenset(kinds), **more)


def test_several_charts_are_asked_about_and_those_aside_are_left_out(tmp_path: Path) -> None:
    own = slot("acme/api:1", "api", image="{ref}")
    readings = (
        some("charts/api", "api", own),
        some("charts/api-v1", "api", own),
        some("monitoring", "monitoring", slot("grafana/grafana:1", "grafana", image="{ref}")),
        some("argocd", "apps", kinds=("Application",)),
        some("broken", "broken", problem="Error: a\nError: no `x`\nUse --debug flag"),
        some("empty", "empty", kinds=()),
    )
    found = repo(API)
    document, text = drafted(tmp_path, found, *readings)
    assert [one["chart"] for one in document["releases"].values()] == ["charts/api"]
    assert text.count("# - guessed: chart") == 3 and "broken: left out, for it does not render: Error: no `x`" in text
    asked = {one.key: one.default for one in questions(found, readings, {}) if one.key.startswith("chart:")}
    assert asked == {
        "chart:charts/api": "yes",
        "chart:charts/api-v1": "no",
        "chart:monitoring": "no",
        "chart:argocd": "no",
    }
    document, _ = drafted(tmp_path, found, *readings, answers={"chart:monitoring": "yes"})
    assert set(document["releases"]) == {"api", "monitoring"}


def test_the_one_dockerfile_and_the_one_image_belong_together(tmp_path: Path) -> None:
    root = FoundDockerfile("Dockerfile", "shop", ".", True)
    for image in ("nginx:1.16", "acme/other:2"):
        one = slot(image, "release-name", image="{ref}")
        document, text = drafted(tmp_path, repo(root), reading(one, slot("redis:7", "cache", cache="{ref}")))
        assert document["releases"]["shop"]["images"] == {"shop": {"image": "{ref}"}}
        assert "# guessed: makes the image of deployment/release-name" in text
    assert document["images"]["shop"]["repository"] == "other"
    foreign = slot("redis:7", "cache", image="{ref}")
    assert "images" not in drafted(tmp_path, repo(root), reading(foreign))[0]


def test_images_of_one_dockerfile_are_told_by_their_names(tmp_path: Path) -> None:
    base = FoundDockerfile("Dockerfile", "shop", ".", True, args={"SERVICE": "", "V": "1"})
    made = [replace(base, name=one, given={"SERVICE": one}) for one in ("front", "back")]
    staged = replace(base, name="worker", target="worker", args={})
    slots = [slot(f"acme/{one}:1", f"shop-{one}", **{f"{one}.image": "{ref}"}) for one in ("front", "back", "worker")]
    document, _ = drafted(tmp_path, repo(base, *made, staged), reading(*slots))
    assert {name: one.get("args") or one["target"] for name, one in document["images"].items()} == {
        "front": {"SERVICE": "front"}, "back": {"SERVICE": "back"}, "worker": "worker"
    }  # fmt: skip


def test_a_secret_that_the_chart_makes_is_left_to_it_unless_the_env_file_has_its_keys(tmp_path: Path) -> None:
    need = SecretNeed("auth", {"PASSWORD": True}, False, ("auth.existingSecret",), made=True)
    document, text = drafted(tmp_path, repo(), reading(secrets=(need,)))
    assert "secrets" not in document and "Secret auth is the chart's own" in text
    document, _ = drafted(tmp_path, repo(env={"PASSWORD": "x"}), reading(secrets=(need,)))
    assert document["releases"]["shop"]["secrets"] == {"auth": {"auth.existingSecret": "{name}"}}


def test_an_ingress_gets_its_addon_and_the_service_behind_it_stays_closed(tmp_path: Path) -> None:
    host = Exposed("web", None, None, "/", host="shop.example.com", ingress_class="nginx")
    closed = Exposed("web", None, None, "", "service.type")
    document, _ = drafted(tmp_path, repo(), reading(exposed=(host, closed)))
    assert document["cluster"] == {"addons": ["ingress"]}
    assert document["urls"] == {"shop-example-com": {"ingressHost": "shop.example.com"}}
    other = replace(host, ingress_class="alb")
    document, _ = drafted(tmp_path, repo(), reading(exposed=(other, closed)))
    assert "cluster" not in document and document["urls"] == {"web": {"service": "web"}}
    database = Exposed("db", None, 30001, "", web=False)
    document, text = drafted(tmp_path, repo(), reading(exposed=(database,)))
    assert "urls" not in document and "db: does not seem to speak HTTP" in text


def test_objects_that_name_one_namespace_are_deployed_there(tmp_path: Path) -> None:
    one = replace(some("chart", "shop"), namespaces=frozenset({"prod"}))
    assert drafted(tmp_path, repo(), one)[0]["namespace"] == "prod"
    two = replace(one, namespaces=frozenset({"a", "b"}))
    assert drafted(tmp_path, repo(), two)[0]["namespace"] == "my-shop"
