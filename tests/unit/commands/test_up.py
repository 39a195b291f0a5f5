from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands.planning import select_services
from deployer.commands.up import notices
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Warned
from deployer.plan import ImagePlan, ImageSource, Plan, ReleasePlan, SecretPlan
from tests.fakes.play import played


def image(name: str) -> ImagePlan:
    where = Path(name)
    return ImagePlan(name, name, "1", where, where / "Dockerfile", {}, (), None, {}, "1m", ImageSource("d", {}))


def release(name: str, *images: str) -> ReleasePlan:
    return ReleasePlan(name, "default", Path("chart"), {}, "inputs", images, (), (), 60.0)


SECRET = SecretPlan("app", "default", "app-1", None, "Opaque", {}, "1", {}, {})
PLAN = Plan(
    "todo",
    "default",
    (image("api"), image("web"), image("db")),
    (SECRET,),
    (release("front", "web"), release("back", "api", "db")),
    (),
)


def names(plan: Plan) -> tuple[list[str], list[str]]:
    return [one.name for one in plan.images], [one.name for one in plan.releases]


def test_without_services_the_plan_is_whole() -> None:
    assert select_services(PLAN, ()) is PLAN


@pytest.mark.parametrize(
    ("services", "images", "releases"),
    [
        (("web",), ["web"], ["front"]),
        # A release is applied with all of its images, or its other values would be missing.
        (("api",), ["api", "db"], ["back"]),
        (("back",), ["api", "db"], ["back"]),
        (("web", "db"), ["api", "web", "db"], ["front", "back"]),
    ],
)
def test_a_service_brings_its_releases_and_their_images(
    services: tuple[str, ...], images: list[str], releases: list[str]
) -> None:
    assert names(select_services(PLAN, services)) == (images, releases)


def test_an_image_brings_those_that_it_is_built_on() -> None:
    web = replace(image("web"), source=ImageSource("d", {}, on={"api": "api"}))
    api = replace(image("api"), source=ImageSource("d", {}, on={"base:1": "base"}))
    plan = replace(PLAN, images=(image("base"), api, image("db"), web))
    assert names(select_services(plan, ("web",))) == (["base", "api", "web"], ["front"])


def test_secrets_are_always_ensured() -> None:
    assert select_services(PLAN, ("web",)).secrets == PLAN.secrets


def test_an_unknown_service_is_an_input_error_that_names_the_nearest() -> None:
    with pytest.raises(DeployError) as caught:
        select_services(PLAN, ("web", "frnt"))
    (problem,) = caught.value.problems
    assert (problem.code, caught.value.exit_code) == ("SERVICE_UNKNOWN", ExitCode.INPUT)
    assert "`front`" in problem.hints[0]
    assert problem.detail == "it has: api, back, db, front, web"


def test_notices_are_reported_in_order() -> None:
    events, _ = played(notices(["one", "two"]))
    assert [one.problem.title for one in events if isinstance(one, Warned)] == ["one", "two"]
