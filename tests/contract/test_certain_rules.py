"""Each rule of the tier `certain` beside the refusal of the real cluster; `-s` prints them as a table."""

from __future__ import annotations

import json
import secrets
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.ports import INPUTS_LABEL, ImagePort, KubePort, Object, UpgradeRequest
from tests.contract.certain_rules import BUILT, PAUSE, TABLE, Refusal
from tests.contract.conftest import Connected

_SECONDS = 120.0


@pytest.fixture
def namespace(connected: Connected) -> Iterator[str]:
    name = f"certain-{secrets.token_hex(4)}"
    connected.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    connected.kube.delete("Namespace", "", name)


@pytest.mark.cluster
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.rule}-{row.words}")
def test_the_cluster_refuses_it(row: Refusal, connected: Connected, namespace: str, tmp_path: Path) -> None:
    images = connected.images
    running = next(ref for ref in images.refs() if "/pause:" in ref)
    named = no_number(images)
    bodies = [placed(one, namespace, running, named) for one in (*row.before, *row.objects)]
    if row.by == "node":
        for body in bodies:
            connected.kube.create(body)
        said = awaited(connected.kube, namespace, row.words)
    else:
        for at, body in enumerate(bodies[:-1]):
            deliver(connected, row, tmp_path, f"release-{at}", body)
        with pytest.raises(DeployError) as caught:
            deliver(connected, row, tmp_path, "release-last", bodies[-1])
        (problem,) = caught.value.problems
        said = f"{problem.title} {problem.detail}" if row.by == "helm" else problem.detail
    assert row.words in said
    print(f"\n{row.rule:24}{textwrap.shorten(said, 250)}")


def deliver(connected: Connected, row: Refusal, folder: Path, release: str, body: Object) -> None:
    """The object is made, by the API server or as the one of a chart."""
    if row.by == "server":
        connected.kube.create(body)
        if body["kind"] == "ResourceQuota":  # in force from when its controller has counted what is there
            place, name = body["metadata"]["namespace"], body["metadata"]["name"]
            assert connected.kube.awaited("ResourceQuota", place, name, lambda one: "hard" in one.get("status", {}), 60)
        return
    chart = folder / release
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: probe\nversion: 0.1.0\n")
    (chart / "templates" / "probe.yaml").write_text(json.dumps(body))
    namespace, labels = body["metadata"]["namespace"], {INPUTS_LABEL: "1"}
    connected.helm.upgrade(UpgradeRequest(release, namespace, chart, {}, labels, "probe", 60))


def no_number(images: ImagePort) -> str:
    """An image of the node whose user is a name, or else root."""
    known = {ref: found.user for ref in images.refs() if (found := images.image(ref)) is not None}
    return max((ref for ref, user in known.items() if not user[:1].isdigit()), key=lambda ref: bool(known[ref]))


def placed(body: Object, namespace: str, running: str, named: str) -> Object:
    """The object in the namespace, unless it has one, with images that the node has."""
    made = {**body, "metadata": {"namespace": namespace, **body["metadata"]}}
    template = (made.get("spec") or {}).get("template")
    if template is None:
        return made
    (box,) = template["spec"]["containers"]
    image = {PAUSE: running, BUILT: box["image"] if box.get("imagePullPolicy") == "Always" else named}.get(
        box["image"], box["image"]
    )
    pod = {**template["spec"], "containers": [{**box, "image": image}]}
    return {**made, "spec": {**made["spec"], "template": {**template, "spec": pod}}}


def awaited(kube: KubePort, namespace: str, words: str) -> str:
    """What an event or a container that waits says with these words in it; all that was said, if none does in time."""
    end = time.monotonic() + _SECONDS
    while True:
        said = [f"{one.get('reason')}: {one.get('message')}" for one in kube.list("Event", namespace)]
        for pod in kube.list("Pod", namespace):
            for one in (pod.get("status") or {}).get("containerStatuses") or ():
                waiting = (one.get("state") or {}).get("waiting") or {}
                said.append(f"{waiting.get('reason')}: {waiting.get('message')}")
        found = next((one for one in said if words in one), None)
        if found is not None or time.monotonic() > end:
            return found or "\n".join(said)
        time.sleep(0.5)
