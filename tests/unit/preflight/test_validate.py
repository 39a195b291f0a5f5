"""What is refused before anything is built: broken rules, and what is somebody else's in the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands.validate import examine
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Warned
from deployer.core.ports import Object, UpgradeRequest
from deployer.plan import Plan
from deployer.preflight import validate
from deployer.preflight.changes import NOTHING
from deployer.preflight.rules.model import Subject
from deployer.preflight.validate import before_build, recall
from deployer.state.record import Record, ReleaseRecord, new_record, with_release
from tests.fakes import FakeKube
from tests.fakes.play import code, failed, played
from tests.fakes.shop import Shop
from tests.unit.preflight.rendering import VALUES, chart, target

APPLIED = with_release(new_record(), "shop", ReleaseRecord("default", 1, "1", ()))


def test_a_broken_rule_is_refused_with_every_error(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    def broken(request: UpgradeRequest) -> Sequence[Object]:
        objects = list(chart(request))
        del objects[0]["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
        objects[0]["spec"]["selector"] = {"matchLabels": {"app": "nobody"}}
        objects[1]["spec"]["ports"][0]["port"] = 0
        return objects

    known = recall(made.loaded, made.plan, tmp_path, new_record())
    steps = before_build(made.loaded, made.plan, target(kube, broken, tmp_path), known, NOTHING, whole=True)
    with pytest.raises(DeployError) as caught:
        list(steps)
    assert caught.value.exit_code is ExitCode.INPUT
    assert [one.code for one in caught.value.problems] == ["PORT_NUMBER", "WORKLOAD_SELECTOR"]


def test_advice_is_one_line_and_comes_once_for_the_same_shape(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    renders: list[UpgradeRequest] = []

    def warned(request: UpgradeRequest) -> Sequence[Object]:
        renders.append(request)
        objects = list(chart(request))
        objects[0]["spec"]["strategy"] = {"type": "Recreate"}
        return objects

    def check(plan: Plan, kept: Record | None = None) -> list[str]:
        on = target(kube, warned, tmp_path, kept)
        known = recall(made.loaded, plan, tmp_path / "state", kept or new_record())
        events = before_build(made.loaded, plan, on, known, NOTHING, whole=True)
        return [event.problem.code for event in events if isinstance(event, Warned)]

    assert check(made.plan) == ["ADVICE"]
    assert check(made.plan) == []
    assert len(renders) == 2
    assert check(made.plan, APPLIED) == []
    assert len(renders) == 3
    (release,), (image,) = made.plan.releases, made.plan.images
    tagged = replace(release, values={"api": {**VALUES["api"], "tag": "1.0.0-ffffffffffff"}})
    newer = replace(made.plan, releases=(tagged,), images=(replace(image, tag="1.0.0-ffffffffffff"),))
    assert check(newer, APPLIED) == []
    assert len(renders) == 4, "the API server judges another tag too, the rules do not"


def test_a_part_of_what_passed_is_only_rendered(
    made: Subject, kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*, whole: bool) -> None:
        on = target(kube, chart, tmp_path, APPLIED)
        known = recall(made.loaded, made.plan, tmp_path / "state", APPLIED)
        played(before_build(made.loaded, made.plan, on, known, NOTHING, whole=whole))

    check(whole=True)
    monkeypatch.setattr(validate, "gather", lambda *_, **__: pytest.fail("the rules looked at it before"))
    check(whole=False)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def foreign(secret: str, **labels: str) -> dict[str, object]:
    return {"kind": "Secret", "metadata": {"name": secret, "namespace": "default", "labels": labels}, "type": "Opaque"}


def refused(shop: Shop, version: str = "1") -> list[str]:
    """The errors of `validate`."""
    return [one.rule for one in examine(shop.write(version), shop.here).findings if one.severity == "error"]


def test_a_secret_of_somebody_else_is_reported_before_anything_is_built_or_written(shop: Shop) -> None:
    shop.kube.put(foreign("app"))
    assert refused(shop) == ["SECRET_FOREIGN"]
    _, error = failed(shop.up("1"))
    assert (code(error), error.exit_code) == ("SECRET_FOREIGN", ExitCode.REFUSED)
    assert (shop.images.built, shop.kube.names("Secret")) == ([], ["app"])


def test_it_may_be_taken_over(shop: Shop) -> None:
    shop.kube.put(foreign("app"))
    played(shop.up("1", adopt=True))
    assert shop.serves == ("1", "token-of-1")
    assert refused(shop) == []


def test_our_own_is_no_finding_although_it_changes(shop: Shop) -> None:
    played(shop.up("1"))
    assert refused(shop, "2") == []


def test_a_release_of_somebody_else_is_reported_by_validate_too(shop: Shop) -> None:
    stored = foreign("sh.helm.release.v1.web.v1", owner="helm", name="web", version="1", status="deployed")
    shop.kube.put({**stored, "type": "helm.sh/release.v1"})
    assert refused(shop) == ["RELEASE_FOREIGN"]
