"""A chart with values, rendered in memory, and a cluster in memory to deploy it to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployer.core.ports import Object, UpgradeRequest
from deployer.preflight.gather import Running, Target
from deployer.stages.cluster import Host
from deployer.state.record import Record, new_record
from tests.fakes import FakeHelm, FakeKube
from tests.unit.preflight.rules.subjects import deployment, good_objects

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


def target(kube: FakeKube, render: Any, folder: Path, kept: Record | None = None) -> Target:
    running = Running(kube, kept or new_record())
    return Target(Host(2, 4096), folder / "cache", FakeHelm(kube, render), running)
