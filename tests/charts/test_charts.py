"""Every chart of the family: lint, determinism, and what the schemas refuse."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.charts.conftest import Chart
from tests.charts.staging import CHARTS

NAMES = sorted(chart.parent.name for chart in CHARTS.glob("*/Chart.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_lint_has_nothing_to_say(name: str, helm: str, staged: Callable[[str], Path]) -> None:
    done = subprocess.run([helm, "lint", "--strict", staged(name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_complete(name: str) -> None:
    metadata = YAML(typ="safe").load(CHARTS / name / "Chart.yaml")
    for key in ("description", "version", "appVersion", "kubeVersion", "maintainers"):
        assert metadata[key], key
    for key in ("version", "appVersion"):
        assert [part.isdigit() for part in metadata[key].split(".")] == [True] * 3, key


def test_every_value_of_a_component_is_in_the_schema_and_has_a_default() -> None:
    schema = json.loads((CHARTS / "workload/values.schema.json").read_text())
    values = YAML(typ="safe").load(CHARTS / "workload/values.yaml")

    def compare(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        known = schema["properties"].keys() - {"component"}
        assert values.keys() == known, path
        for key, value in values.items():
            below = schema["properties"][key]
            if isinstance(value, dict) and "properties" in below:
                compare(below, value, f"{path}.{key}")

    compare(schema, values, "workload")


def test_rendering_is_deterministic(todo_app: Chart) -> None:
    values = {"database": {"enabled": True}}
    assert todo_app.template(values) == todo_app.template(values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        pytest.param({"service": {"nodePort": 80}}, "/service/nodePort", id="nodePort below its range"),
        pytest.param({"service": {"nodePort": 32768}}, "/service/nodePort", id="nodePort above its range"),
        pytest.param({"service": {"type": "External"}}, "/service/type", id="service type"),
        pytest.param({"service": {"type": "NodePort", "headless": True}}, "/service/type", id="headless NodePort"),
        pytest.param({"port": 70000}, "/port", id="port"),
        pytest.param({"image": {"tag": "latest"}}, "/image/tag", id="mutable tag"),
        pytest.param({"image": {"tag": "no spaces"}}, "/image/tag", id="malformed tag"),
        pytest.param({"image": {"tag": 1}}, "/image/tag", id="tag that YAML took for a number"),
        pytest.param({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy", id="pull policy"),
        pytest.param({"replicas": 2}, "replicas", id="unknown key"),
        pytest.param({"image": {"version": "1"}}, "version", id="unknown nested key"),
        pytest.param({"replicaCount": -1}, "/replicaCount", id="negative replicas"),
        pytest.param({"config": {"data": {"PORT": 1}}}, "/config/data/PORT", id="config value not a string"),
        pytest.param({"config": {"data": {"a-b": "1"}}}, "/config/data", id="config key not a variable"),
        pytest.param({"config": {"envFrom": False, "data": {"a/b": "1"}}}, "/config/data", id="config key not a file"),
        pytest.param({"env": {"X": {"from": {}}}}, "/env/X", id="env source"),
        pytest.param({"secretEnv": {"X": {"secret": "s"}}}, "/secretEnv/X", id="secret without a key"),
        pytest.param({"resources": {"limits": {"cpu": "much"}}}, "/resources/limits/cpu", id="quantity"),
        pytest.param({"kind": "DaemonSet"}, "/kind", id="kind"),
        pytest.param(
            {"kind": "StatefulSet", "strategy": {"type": "Recreate"}}, "/strategy/type", id="strategy of the other kind"
        ),
        pytest.param({"ingress": {"enabled": True}}, "/ingress/hosts", id="ingress without hosts"),
        pytest.param(
            {"global": {"secretChecksums": {"s": {"K": "a secret!"}}}}, "/global/secretChecksums", id="not a checksum"
        ),
        # What a schema cannot say, the templates do.
        pytest.param({"image": {"tag": ""}}, "web: image.tag is required", id="no tag"),
        pytest.param({"image": {"repository": ""}}, "web: image.repository is required", id="no repository"),
        pytest.param({"persistence": {"enabled": True}}, "web: persistence.mountPath is required", id="no mount path"),
        pytest.param({"preStopSeconds": 30}, "leaves no time to stop", id="grace period used up"),
    ],
)
def test_wrong_values_are_refused_by_name(workload: Chart, values: dict[str, Any], complaint: str) -> None:
    assert complaint in workload.refusal(values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        pytest.param({"backnd": {}}, "backnd", id="unknown component"),
        pytest.param({"backend": {"image": {"tag": "latest"}}}, "backend:", id="wrong value of a component"),
        pytest.param({"database": {"enabled": "no"}}, "/database/enabled", id="condition not a boolean"),
    ],
)
def test_wrong_values_of_the_umbrella_are_refused(todo_app: Chart, values: dict[str, Any], complaint: str) -> None:
    assert complaint in todo_app.refusal(values)
