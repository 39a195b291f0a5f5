"""What `plan` tells: every step of an `up`, its reason, and never a value of a Secret."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.commands import addons, connection
from deployer.commands.plan import Step, planned_steps, refusal
from deployer.core.ports import WITHOUT_CLUSTER, ClusterFacts, DryRun, NodeFacts, Object, Rendering, UpgradeRequest
from deployer.sources import load as inputs
from deployer.stages.addons import AddonState
from deployer.status import ClusterPhase
from tests.fakes import FakeCluster
from tests.fakes.play import played
from tests.fakes.scene import TOOLS
from tests.fakes.shop import SPEC, Shop

OLD, NEW = "kq-canary-old-7f3", "kq-canary-new-9a1"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def seen(shop: Shop, version: str = "1", **env: str) -> tuple[Step, ...]:
    return planned_steps(shop.write(version), env or {"TOKEN": f"token-of-{version}"}, shop.here)


def step(steps: tuple[Step, ...], kind: str) -> Step:
    (found,) = [one for one in steps if one.kind == kind]
    return found


def actions(steps: tuple[Step, ...]) -> list[tuple[str, str, str]]:
    return [(one.kind, one.name, one.action) for one in steps]


def test_nothing_is_to_be_done_after_an_up(shop: Shop) -> None:
    played(shop.up("1"))
    steps = seen(shop)
    assert {one.action for one in steps} == {"unchanged"}
    assert [one.kind for one in steps] == ["cluster", "image", "secret", "release"]
    assert step(steps, "secret").reason == "keys TOKEN"
    assert step(steps, "release").reason == "revision 1"


def test_a_preview_changes_nothing(shop: Shop) -> None:
    played(shop.up("1"))
    shop.kube.writes.clear()
    built, requests = len(shop.images.built), len(shop.helm.requests)
    seen(shop, "2")
    assert (shop.kube.writes, len(shop.images.built), len(shop.helm.requests)) == ([], built, requests)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (AddonState("metallb", True, "v1"), "unchanged"),
        (AddonState("metallb", False, "not in the cluster yet", present=False), "create"),
        (AddonState("metallb", False, "DaemonSet speaker: not there"), "update"),
    ],
)
def test_addons_are_shown_as_the_cluster_has_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, state: AddonState, action: str
) -> None:
    played(shop.up("1"))
    spec = shop.root / "todo-deploy.yaml"
    spec.write_text(spec.read_text() + "cluster: {addons: [metallb]}\n")
    monkeypatch.setattr(addons, "look", lambda *_: (state,))
    monkeypatch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
    found = step(seen(shop), "addon")
    assert (found.name, found.action, found.reason) == ("metallb", action, state.text)


def test_an_empty_cluster_gets_everything(shop: Shop) -> None:
    steps = seen(shop)
    assert actions(steps) == [("cluster", "todo-deploy", "unchanged"), ("image", "api", "build"),
                              ("secret", "app", "create"), ("release", "web", "create")]  # fmt: skip
    assert step(steps, "image").reason.startswith("first build\nshop/api:0.1.0")
    assert step(steps, "release").reason == "first install"


@pytest.mark.parametrize("phase", [ClusterPhase.MISSING, ClusterPhase.STOPPED])
def test_a_cluster_that_does_not_run_is_made_or_started_first(shop: Shop, phase: ClusterPhase) -> None:
    shop.cluster = FakeCluster(ClusterFacts(phase))
    steps = seen(shop)
    first = "create" if phase is ClusterPhase.MISSING else "update"
    assert actions(steps) == [("cluster", "todo-deploy", first), ("image", "api", "build"),
                              ("secret", "app", "create"), ("release", "web", "create")]  # fmt: skip
    shown = step(steps, "release").reason
    assert shown == ("" if phase is ClusterPhase.MISSING else "as far as is known without the cluster")


def test_a_stopped_node_of_the_cluster_is_something_to_do(shop: Shop) -> None:
    played(shop.up("1"))
    nodes = (NodeFacts("c", True, shop.cluster.current.docker), NodeFacts("c-m02", False))
    shop.cluster.current = replace(shop.cluster.current, nodes=nodes)
    found = step(seen(shop), "cluster")
    assert (found.action, "c-m02" in found.reason) == ("update", True)


def test_the_file_that_makes_an_image_new_is_named(shop: Shop) -> None:
    played(shop.up("1"))
    reason, ref = step(seen(shop, "2"), "image").reason.split("\n")
    assert "Dockerfile" in reason
    assert ref != shop.record.history[0].images["api"]


def test_an_image_that_is_gone_is_built_again(shop: Shop) -> None:
    played(shop.up("1"))
    shop.images.known.clear()
    found = step(seen(shop), "image")
    assert (found.action, found.reason.split("\n")[0]) == ("build", "it is gone from the cluster's daemon")


def test_changed_added_and_removed_keys_are_named_without_their_values(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC.replace("{TOKEN: {}}", "{TOKEN: {}, OLD: {from: TOKEN}, SAME: {from: FIXED}}"))
    played(shop.up("1", env={"TOKEN": OLD, "FIXED": "kq-fixed"}))
    path.write_text(SPEC.replace("{TOKEN: {}}", "{TOKEN: {}, FRESH: {from: TOKEN}, SAME: {from: FIXED}}"))
    steps = seen(shop, TOKEN=NEW, FIXED="kq-fixed")
    secret = step(steps, "secret")
    assert secret.action == "update"
    assert secret.reason.split("\n") == ["TOKEN: ••• → •••", "FRESH: added", "OLD: removed"]
    assert step(steps, "release").action == "update"


@pytest.mark.parametrize("phase", [ClusterPhase.RUNNING, ClusterPhase.MISSING])
def test_no_step_has_a_secret_value(shop: Shop, phase: ClusterPhase) -> None:
    played(shop.up("1", env={"TOKEN": OLD}))
    if phase is ClusterPhase.MISSING:
        shop.cluster = FakeCluster(ClusterFacts(phase))
    text = repr(seen(shop, "2", TOKEN=NEW))
    assert "TOKEN" in text
    for value in (OLD, NEW):
        assert value not in text
        assert base64.b64encode(value.encode()).decode() not in text


def test_a_release_that_lost_an_object_says_which(shop: Shop) -> None:
    played(shop.up("1"))
    shop.kube.drop("ConfigMap", "default", "web")
    found = step(seen(shop), "release")
    assert (found.action, found.reason) == ("update", "configmap/web is gone")


def test_a_changed_value_is_shown_with_both_sides(shop: Shop) -> None:
    played(shop.up("1"))
    reason = step(seen(shop, "2"), "release").reason
    assert "version" in reason
    assert "image" in reason


def test_an_env_file_to_be_made_or_completed_comes_first(shop: Shop) -> None:
    path = shop.root / "todo-deploy.yaml"
    path.write_text(SPEC.replace("{TOKEN: {}}", "{TOKEN: {kind: generated}}"))
    loaded = shop.write("1")
    (shop.root / ".env").write_text("# nothing yet\n")
    found = planned_steps(loaded, {}, shop.here)[0]
    assert (found.kind, found.name, found.action, found.reason) == ("env", ".env", "update", "generated: TOKEN")
    (shop.root / ".env").unlink()
    (shop.root / ".env.example").write_text("OTHER=1\n")
    found = planned_steps(loaded, {}, shop.here)[0]
    assert (found.action, found.reason) == ("create", "from .env.example; generated: TOKEN")
    (shop.root / ".env.example").write_text("TOKEN=from-example\n")
    assert inputs.values_of(inputs.env_or_example(loaded)) == {"TOKEN": "from-example"}


def test_what_the_api_server_will_not_change_is_said_with_the_release(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
    played(shop.up("1"))
    says = DryRun(422, "is invalid", (("data.version", "field is immutable"),))
    shop.kube.fixed["ConfigMap", "default", "web"] = says
    assert "Kubernetes does not let `data.version` change" in step(seen(shop, "2"), "release").reason
    assert refusal(seen(shop, "2")) == 7
    assert step(seen(shop, "1"), "release").action == "unchanged"


def test_what_rules_advise_is_one_line_beside_the_changes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
    (shop.root / "todo-deploy.yaml").write_text(SPEC + "rules: {allow: [TAG_LATEST]}\n")
    rules = step(seen(shop), "rules")
    assert rules.action == "unchanged" and rules.reason.endswith("WAIVER_UNUSED") and "\n" not in rules.reason
    played(shop.up("1"))
    assert "rules" not in {one.kind for one in seen(shop)}


def test_the_refusal_is_the_first_that_an_up_would_meet() -> None:
    rules, release = Step("rules", "x", "unchanged", "", 2), Step("release", "x", "update", "", 7)
    assert refusal((Step("cluster", "x", "unchanged"), release)) == 7
    assert refusal((release, rules)) == 2
    assert refusal((release, rules, Step("owner", "x", "unchanged", "", 7))) == 7
    assert refusal((Step("release", "x", "update"),)) == 0


def test_a_foreign_secret_is_refused_as_up_refuses_it(shop: Shop) -> None:
    shop.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app", "namespace": "default"}})
    steps = seen(shop)
    assert step(steps, "owner").refused == 7 and refusal(steps) == 7


def test_a_chart_that_changed_is_rendered_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
    played(shop.up("1"))
    rendered: list[str] = []
    template = shop.helm.template

    def counted(request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]:
        rendered.append(request.release)
        return template(request, against)

    monkeypatch.setattr(shop.helm, "template", counted)
    assert step(seen(shop, "2"), "release").action == "update"
    assert rendered == ["web"]
    assert step(seen(shop, "1"), "release").action == "unchanged" and rendered == ["web"]
