"""Every rendered object is one that the API knows: read into the client's models and back, nothing is lost.

A misspelt or misplaced field is dropped on the way, a missing or mistyped one is refused.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client

from tests.charts.conftest import Chart

MODELS = {
    "Deployment": "V1Deployment",
    "StatefulSet": "V1StatefulSet",
    "Service": "V1Service",
    "ConfigMap": "V1ConfigMap",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "NetworkPolicy": "V1NetworkPolicy",
    "Ingress": "V1Ingress",
    "ServiceAccount": "V1ServiceAccount",
}

EVERYTHING: dict[str, Any] = {
    "args": ["--verbose"],
    "env": {"POD_IP": {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, "PLAIN": "x"},
    "secretEnv": {"TOKEN": {"secret": "s", "key": "T", "optional": True}},
    "configEnv": {"B": {"key": "A"}},
    "envFromSecrets": ["todo-secrets"],
    "config": {"enabled": True, "immutable": True, "data": {"A": "1"}},
    "probes": {"startup": {"httpGet": {"path": "/", "port": 8080}, "failureThreshold": 30}},
    "persistence": {"enabled": True, "mountPath": "/data", "storageClass": "standard"},
    "extraVolumes": [{"name": "cache", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    "service": {"type": "NodePort", "nodePort": 30080, "annotations": {"a": "b"}},
    "ingress": {"enabled": True, "hosts": [{"host": "todo.local", "paths": [{"path": "/"}]}]},
    "networkPolicy": {
        "enabled": True,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 8080}]}],
        "egress": [{"to": [{"namespaceSelector": {}}]}],
    },
    "autoscaling": {
        "enabled": True,
        "targetMemoryUtilizationPercentage": 80,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
    },
    "podDisruptionBudget": {"enabled": True, "maxUnavailable": "50%"},
    "serviceAccount": {"create": True, "annotations": {"a": "b"}},
}


def round_trip(document: dict[str, Any]) -> Any:
    api: Any = client.ApiClient()
    model = api.deserialize(json.dumps(document), MODELS[document["kind"]], "application/json")
    return api.sanitize_for_serialization(model)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_every_object_of_a_component(workload: Chart, kind: str) -> None:
    rendered = workload.render({**EVERYTHING, "kind": kind})
    # A StatefulSet makes its claims itself; of the two workload kinds there is one.
    assert len(list(rendered)) == len(MODELS) - 1 - (kind == "StatefulSet")
    for key in rendered:
        assert round_trip(rendered[key]) == rendered[key]


def test_every_object_of_the_application(todo_app: Chart) -> None:
    rendered = todo_app.render({"database": {"enabled": True}})
    for key in rendered:
        assert round_trip(rendered[key]) == rendered[key]


def test_a_misspelt_field_would_be_seen(workload: Chart) -> None:
    deployment = workload.render()["Deployment", "web"]
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    assert round_trip(deployment) != deployment
