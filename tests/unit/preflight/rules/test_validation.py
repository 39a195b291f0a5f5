"""Gathering what rules look at, with ports in memory: renders, trials, and what the cluster has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.commands.deploy import Connected, Planned
from deployer.composition import World
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Warned
from deployer.core.ports import ClusterFacts, Object, UpgradeRequest
from deployer.core.steps import Steps
from deployer.preflight import validate as validation
from deployer.preflight.rules.model import Subject
from deployer.preflight.validate import Running, gather
from deployer.state.record import ReleaseRecord, new_record, with_release
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain
from tests.fakes import FakeClock, FakeHelm, FakeKube
from tests.unit.preflight.rules.subjects import deployment, good_objects, subject

NODE = {
    "kind": "Node",
    "metadata": {"name": "n"},
    "status": {"allocatable": {"cpu": "4", "memory": "8Gi"}, "nodeInfo": {"architecture": "amd64"}},
}
VALUES = {"api": {"tag": "1.0.0-0123456789ab", "sums": {"DATABASE_URL": "1"}}}


def chart(request: UpgradeRequest) -> Sequence[Object]:
    """Uses the tag and the checksums of the values, as the chart of the spec should."""
    body = deployment()
    api = request.values["api"]
    body["spec"]["template"]["spec"]["containers"][0]["image"] = f"shop-api:{api['tag']}"
    body["spec"]["template"]["metadata"]["annotations"] = {"sums": str(len(str(api["sums"]))) + str(api["sums"])}
    others = good_objects()
    return [body, *(others[name] for name in ("service", "config", "ingress", "scaler", "other"))]


def deaf_chart(request: UpgradeRequest) -> Sequence[Object]:
    """Uses no value at all."""
    return chart(replace(request, values=VALUES))


@pytest.fixture
def made(tmp_path: Path) -> Subject:
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "Chart.yaml").write_text("version: 0.1.0\nappVersion: 1.0.0\nmaintainers: [{name: us}]\n")
    one = subject(folder=tmp_path)
    (release,) = one.plan.releases
    return replace(one, plan=replace(one.plan, releases=(replace(release, values=VALUES),)))


@pytest.fixture
def kube() -> FakeKube:
    kube = FakeKube(FakeClock())
    kube.put(NODE)
    return kube


def world(folder: Path) -> World:
    return World({}, folder / "cache", folder / "state", FakeClock())


def look(made: Subject, kube: FakeKube, render: Any, tmp_path: Path, *, thorough: bool) -> Subject:
    running = Running(ClusterFacts(ClusterPhase.RUNNING), kube, frozenset(), new_record())
    return gather(made.loaded, made.plan, FakeHelm(kube, render), running, world(tmp_path), thorough=thorough)


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


def planned(made: Subject, *, applied: bool) -> Planned:
    kept = replace(new_record(), version="1")
    if applied:
        kept = with_release(kept, "shop", ReleaseRecord("default", 1, "1", ()))
    return Planned(made.plan, kept, None)


def drain(steps: Steps[None]) -> list[Any]:
    return list(steps)


def connected(kube: FakeKube, render: Any) -> Connected:
    tools = Toolchain("path", "", *(Path("x"),) * 5, {}, "", None, None, False)
    return Connected(tools, ClusterFacts(ClusterPhase.RUNNING), kube, FakeHelm(kube, render))


def test_a_broken_rule_is_refused_with_every_error(made: Subject, kube: FakeKube, tmp_path: Path) -> None:
    def broken(request: UpgradeRequest) -> Sequence[Object]:
        objects = list(chart(request))
        del objects[0]["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
        objects[1]["spec"]["selector"] = {"app": "nobody"}
        return objects

    steps = validation.before_build(
        made.loaded, planned(made, applied=False), connected(kube, broken), world(tmp_path), whole=True
    )
    with pytest.raises(DeployError) as caught:
        drain(steps)
    assert caught.value.exit_code is ExitCode.INPUT
    assert [one.code for one in caught.value.problems] == ["LIVENESS_MISSING", "SERVICE_SELECTOR"]


def test_warnings_are_told_once_and_the_same_is_not_rendered_again(
    made: Subject, kube: FakeKube, tmp_path: Path
) -> None:
    renders: list[UpgradeRequest] = []

    def warned(request: UpgradeRequest) -> Sequence[Object]:
        renders.append(request)
        objects = list(chart(request))
        objects[0]["spec"]["strategy"] = {"type": "Recreate"}
        return objects

    door = connected(kube, warned)

    def check(one: Planned) -> list[str]:
        told = drain(validation.before_build(made.loaded, one, door, world(tmp_path), whole=True))
        return [event.problem.code for event in told if isinstance(event, Warned)]

    assert check(planned(made, applied=False)) == ["UPDATE_GAP"]
    assert check(planned(made, applied=False)) == []
    assert len(renders) == 2
    assert check(planned(made, applied=True)) == []
    assert len(renders) == 2
    (release,), (image,) = made.plan.releases, made.plan.images
    tagged = replace(release, values={"api": {**VALUES["api"], "tag": "1.0.0-ffffffffffff"}})
    newer = replace(made.plan, releases=(tagged,), images=(replace(image, tag="1.0.0-ffffffffffff"),))
    assert check(replace(planned(made, applied=True), plan=newer)) == []
    assert len(renders) == 2, "another tag alone is the same shape"
