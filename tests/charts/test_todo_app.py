"""The umbrella chart, compared with the data model that it implements, table by table.

Two recorded deviations: images never carry `:latest`, and metadata carries the standard labels besides the
documented ones. Selectors and pod labels are exactly the documented ones.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.conftest import Chart, Rendered
from tests.charts.staging import stage

TAG = "1.0.0-aaaaaaaaaaaa"
COMPONENTS = ["backend", "frontend-web", "frontend-chatbot"]


@pytest.fixture(scope="module")
def rendered(todo_app: Chart) -> Rendered:
    return todo_app.render()


def frontend_probe(port: int, delay: int, period: int) -> dict[str, Any]:
    http = {"path": "/", "port": port}
    return {"httpGet": http, "initialDelaySeconds": delay, "periodSeconds": period}


def backend_probe(path: str, delay: int, period: int) -> dict[str, Any]:
    timing = {"initialDelaySeconds": delay, "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": 3}
    return {"httpGet": {"path": path, "port": 8000}, **timing}


def resources(cpu: str, memory: str, max_cpu: str, max_memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": max_cpu, "memory": max_memory}}


# Columns: tier, port, uid, resources, liveness, readiness.
DEPLOYMENTS = {
    "backend": (
        "api",
        8000,
        1000,
        resources("250m", "256Mi", "500m", "512Mi"),
        backend_probe("/health", 10, 30),
        backend_probe("/ready", 5, 10),
    ),
    "frontend-web": (
        "frontend",
        3000,
        1001,
        resources("100m", "128Mi", "200m", "256Mi"),
        frontend_probe(3000, 15, 30),
        frontend_probe(3000, 10, 10),
    ),
    "frontend-chatbot": (
        "frontend",
        3001,
        1001,
        resources("100m", "128Mi", "200m", "256Mi"),
        frontend_probe(3001, 15, 30),
        frontend_probe(3001, 10, 10),
    ),
}

SERVICES = {
    "backend": ("ClusterIP", {"port": 8000, "targetPort": 8000}),
    "frontend-web": ("NodePort", {"port": 3000, "targetPort": 3000, "nodePort": 30000}),
    "frontend-chatbot": ("NodePort", {"port": 3001, "targetPort": 3001, "nodePort": 30001}),
}

CONFIG = {
    "backend": {
        "FRONTEND_URL": "http://localhost:3000",
        "ALLOWED_ORIGINS": "http://localhost:3000",
        "LOG_LEVEL": "INFO",
        "ENVIRONMENT": "development",
    },
    "frontend-web": {
        "NEXT_PUBLIC_API_URL": "http://backend-service:8000",
        "BETTER_AUTH_URL": "http://localhost:3000",
    },
    "frontend-chatbot": {"VITE_API_URL": "http://backend-service:8000"},
}

SECRET_KEYS = {
    "backend": {
        "DATABASE_URL": "DATABASE_URL",
        "BETTER_AUTH_SECRET": "BETTER_AUTH_SECRET",
        "OPENAI_API_KEY": "OPENAI_API_KEY",
    },
    "frontend-web": {"BETTER_AUTH_SECRET": "BETTER_AUTH_SECRET"},
    "frontend-chatbot": {"VITE_OPENAI_API_KEY": "OPENAI_API_KEY"},
}


def test_the_topology_has_nothing_more_and_nothing_less(rendered: Rendered) -> None:
    expected = {("Deployment", name) for name in COMPONENTS}
    expected |= {("Service", f"{name}-service") for name in COMPONENTS}
    expected |= {("ConfigMap", f"{name}-config") for name in COMPONENTS}
    assert set(rendered) == expected
    assert {rendered[key]["metadata"]["namespace"] for key in rendered} == {"default"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_deployment(rendered: Rendered, name: str) -> None:
    tier, port, uid, size, liveness, readiness = DEPLOYMENTS[name]
    deployment = rendered["Deployment", name]
    spec = deployment["spec"]
    pod = spec["template"]
    container = rendered.container(name)

    assert deployment["apiVersion"] == "apps/v1"
    assert deployment["metadata"]["labels"].items() >= {"app": name, "tier": tier, "phase": "iv"}.items()
    assert spec["replicas"] == 2
    assert spec["selector"] == {"matchLabels": {"app": name}}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert pod["metadata"]["labels"] == {"app": name, "tier": tier}
    assert pod["spec"]["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": uid}.items()
    assert container["name"] == name
    assert container["image"] == f"todo-{name}:{TAG}"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": port, "protocol": "TCP"}]
    assert container["resources"] == size
    assert container["livenessProbe"] == liveness
    assert container["readinessProbe"] == readiness
    assert "startupProbe" not in container, "would move the documented time to readiness"


@pytest.mark.parametrize("name", COMPONENTS)
def test_service(rendered: Rendered, name: str) -> None:
    kind, ports = SERVICES[name]
    service = rendered["Service", f"{name}-service"]
    assert service["metadata"]["labels"].items() >= {"app": name, "tier": DEPLOYMENTS[name][0]}.items()
    assert service["spec"] == {
        "type": kind,
        "selector": {"app": name},
        "ports": [{"name": "http", "protocol": "TCP", **ports}],
    }


@pytest.mark.parametrize("name", COMPONENTS)
def test_configmap(rendered: Rendered, name: str) -> None:
    config = rendered["ConfigMap", f"{name}-config"]
    assert config["data"] == CONFIG[name]
    assert config["metadata"]["labels"]["app"] == name
    assert "tier" not in config["metadata"]["labels"]
    assert "immutable" not in config


@pytest.mark.parametrize("name", COMPONENTS)
def test_environment(rendered: Rendered, name: str) -> None:
    container = rendered.container(name)
    assert container["envFrom"] == [{"configMapRef": {"name": f"{name}-config"}}]
    assert {variable["name"]: variable["valueFrom"] for variable in container["env"]} == {
        variable: {"secretKeyRef": {"name": "app-secrets", "key": key}} for variable, key in SECRET_KEYS[name].items()
    }


@pytest.mark.parametrize("name", [*COMPONENTS, "database"])
def test_pods_are_hardened_and_stop_gracefully(todo_app: Chart, name: str) -> None:
    rendered = todo_app.render({"database": {"enabled": True}})
    pod = rendered.pod(name)["spec"]
    container = rendered.container(name)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["terminationGracePeriodSeconds"] == 30
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}} in pod["volumes"]
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    if name == "database":
        assert "lifecycle" not in container
    else:
        assert container["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "5"]}}}


def test_capacity_is_the_documented_total(rendered: Rendered) -> None:
    totals = {"cpu": 0, "memory": 0, "max cpu": 0, "max memory": 0}
    for name in COMPONENTS:
        replicas = rendered["Deployment", name]["spec"]["replicas"]
        for prefix, part in (("", "requests"), ("max ", "limits")):
            size = rendered.container(name)["resources"][part]
            totals[f"{prefix}cpu"] += replicas * int(size["cpu"].removesuffix("m"))
            totals[f"{prefix}memory"] += replicas * int(size["memory"].removesuffix("Mi"))
    assert totals == {"cpu": 900, "memory": 1024, "max cpu": 1800, "max memory": 2048}


def test_database_is_a_stateful_set_when_wanted(todo_app: Chart) -> None:
    rendered = todo_app.render({"database": {"enabled": True}})
    spec = rendered["StatefulSet", "database"]["spec"]
    container = rendered.container("database")
    ready = container["readinessProbe"]["exec"]["command"]

    assert spec["replicas"] == 1
    assert spec["serviceName"] == "database-service"
    assert "strategy" not in spec
    assert spec["template"]["spec"]["securityContext"].items() >= {"runAsUser": 1001, "fsGroup": 1001}.items()
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"] == [
        {
            "metadata": {"name": "data", "labels": {"app": "database"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    ]
    assert [volume["name"] for volume in spec["template"]["spec"]["volumes"]] == ["tmp"]
    assert {"name": "data", "mountPath": "/var/lib/postgresql/data"} in container["volumeMounts"]
    assert container["image"] == f"todo-database:{TAG}"
    assert container["env"] == [
        {
            "name": "POSTGRES_PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "database-credentials", "key": "POSTGRES_PASSWORD"}},
        },
        {"name": "POSTGRES_DB", "value": "todo"},
        {"name": "POSTGRES_USER", "value": "todo"},
    ]
    assert container["resources"] == resources("50m", "128Mi", "500m", "256Mi")
    assert ready[:2] == ["sh", "-c"]
    assert "pg_isready -h 127.0.0.1" in ready[2]
    assert rendered["Service", "database-service"]["spec"]["ports"] == [
        {"name": "postgres", "protocol": "TCP", "port": 5432, "targetPort": 5432}
    ]


def test_notes_name_the_way_to_every_url(todo_app: Chart, tmp_path: Any) -> None:
    """Helm prints notes only when it installs, so here they are rendered as part of a manifest."""
    copy = stage(todo_app.path, tmp_path)
    notes = (copy / "templates/NOTES.txt").read_text()
    wrapped = '{{- define "notes" -}}' + notes + "{{- end -}}\nkind: Notes\nmetadata: {name: notes}\ntext: "
    (copy / "templates/notes.yaml").write_text(wrapped + '{{ include "notes" . | toJson }}\n')

    text = Chart(todo_app.helm, copy, todo_app.base).render()["Notes", "notes"]["text"]

    assert "minikube service frontend-web-service --namespace default --url" in text
    assert "minikube service frontend-chatbot-service --namespace default --url" in text
    assert "backend-service.default:8000" in text
    assert "database" not in text
