"""The umbrella chart `todo`, compared with the data model that it implements, section by section."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.charts.conftest import Chart, Rendered
from tests.charts.staging import CHARTS

PARTS = ("frontend", "backend")
PORTS = {"frontend": 3000, "backend": 8000}
TAG = "1.0.0-aaaaaaaaaaaa"


def yaml(path: str) -> Any:
    return YAML(typ="safe").load(CHARTS / path)


@pytest.fixture(scope="module")
def rendered(todo: Chart) -> Rendered:
    return todo.render(release="todo")


@pytest.fixture(scope="module")
def with_database(todo: Chart) -> Rendered:
    return todo.render({"database": {"enabled": True}}, release="todo")


def test_the_chart_and_its_subcharts_are_the_documented_ones() -> None:
    chart = yaml("todo/Chart.yaml")
    documented = {"name": "todo", "version": "0.1.0", "apiVersion": "v2", "description": "Todo Chatbot Application",
                  "type": "application", "appVersion": "1.0.0"}  # fmt: skip
    assert {key: chart[key] for key in documented} == documented
    assert [(one["name"], one["version"], one["repository"]) for one in chart["dependencies"]] == [
        (name, "0.1.0", f"file://./charts/{name}") for name in ("frontend", "backend", "database")
    ]
    for name in ("frontend", "backend", "database"):
        part = yaml(f"todo/charts/{name}/Chart.yaml")
        assert (part["name"], part["version"]) == (name, "0.1.0")
        assert [one["name"] for one in part["dependencies"]] == ["component"]


def test_the_default_values_are_the_documented_ones() -> None:
    values = yaml("todo/values.yaml")
    assert values["global"] == {"imageRegistry": "", "imagePullSecrets": [], "storageClass": ""}
    for name in PARTS:
        part = values[name]
        assert part["replicaCount"] == 2
        assert part["image"]["repository"] == f"todo-{name}"
        assert part["image"]["pullPolicy"] == "IfNotPresent"
        assert part["image"]["tag"] == "", "whoever deploys gives an immutable one"
        assert part["service"] == {"type": "ClusterIP", "port": 80}
        assert part["resources"] == {
            "limits": {"cpu": "500m", "memory": "512Mi"},
            "requests": {"cpu": "250m", "memory": "256Mi"},
        }
        assert (part["nodeSelector"], part["tolerations"], part["affinity"]) == ({}, [], {})
    ingress = values["frontend"]["ingress"]
    assert ingress["enabled"] is True
    assert ingress["hosts"][0]["host"] == "todo.local"
    assert ingress["hosts"][0]["paths"][0] == {"path": "/", "pathType": "Prefix"}
    assert values["database"] == {"enabled": False}


def test_a_component_that_says_where_it_differs_has_the_defaults_of_every_component() -> None:
    own = yaml("workload/values.yaml")
    shared = yaml("component/values.yaml")["exports"]["defaults"]
    # What belongs to charts/workload alone.
    own.pop("parentRenders", None)
    assert shared == own


def test_objects(rendered: Rendered, with_database: Rendered) -> None:
    assert set(rendered) == {
        *(("Deployment", name) for name in PARTS),
        *(("Service", f"{name}-service") for name in PARTS),
        *(("NetworkPolicy", name) for name in PARTS),
        ("Ingress", "todo-ingress"),
        ("HorizontalPodAutoscaler", "backend-hpa"),
    }
    assert set(with_database) - set(rendered) == {
        ("StatefulSet", "database"), ("Service", "database-service"), ("NetworkPolicy", "database")
    }  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_deployment(rendered: Rendered, name: str) -> None:
    deployment, pod, container = rendered["Deployment", name], rendered.pod(name), rendered.container(name)
    port = PORTS[name]

    def probe(path: str, delay: int, period: int, **more: int) -> dict[str, Any]:
        times = {"initialDelaySeconds": delay, "periodSeconds": period, "timeoutSeconds": 3}
        return {"httpGet": {"path": path, "port": port}, **times, **more}

    assert deployment["apiVersion"] == "apps/v1"
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": name}}
    assert pod["metadata"]["labels"] == {"app": name}
    assert container["name"] == name
    assert container["image"] == f"todo-{name}:{TAG}"
    assert container["ports"] == [{"containerPort": port, "protocol": "TCP"}]
    assert container["envFrom"] == [{"secretRef": {"name": "todo-secrets"}}]
    assert container["resources"] == {
        "requests": {"memory": "256Mi", "cpu": "250m"},
        "limits": {"memory": "512Mi", "cpu": "500m"},
    }
    assert container["livenessProbe"] == probe("/health", 30, 10)
    assert container["readinessProbe"] == probe("/ready", 5, 5)
    assert container["startupProbe"] == probe("/startup", 10, 5, failureThreshold=30)
    assert pod["spec"]["securityContext"].items() >= {"runAsNonRoot": True, "fsGroup": 1000}.items()


def test_replicas_are_static_where_nothing_scales_them(rendered: Rendered, todo: Chart) -> None:
    assert rendered["Deployment", "frontend"]["spec"]["replicas"] == 2
    assert "replicas" not in rendered["Deployment", "backend"]["spec"], "the autoscaler's"
    static = todo.render({"backend": {"autoscaling": {"enabled": False}}}, release="todo")
    assert static["Deployment", "backend"]["spec"]["replicas"] == 2


@pytest.mark.parametrize("name", PARTS)
def test_containers_are_hardened_and_updates_lose_no_request(rendered: Rendered, name: str) -> None:
    container = rendered.container(name)
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert rendered["Deployment", name]["spec"]["strategy"] == rolling
    assert container["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "5"]}}}
    assert rendered.pod(name)["spec"]["terminationGracePeriodSeconds"] == 30


@pytest.mark.parametrize("name", PARTS)
def test_service(rendered: Rendered, name: str) -> None:
    assert rendered["Service", f"{name}-service"]["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": name},
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": PORTS[name]}],
    }


def test_a_service_may_be_a_node_port(todo: Chart) -> None:
    rendered = todo.render({"frontend": {"service": {"type": "NodePort"}}}, release="todo")
    assert rendered["Service", "frontend-service"]["spec"]["type"] == "NodePort"


def test_ingress(rendered: Rendered) -> None:
    ingress = rendered["Ingress", "todo-ingress"]
    assert ingress["apiVersion"] == "networking.k8s.io/v1"
    assert ingress["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/rewrite-target": "/"}
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "todo.local"
    assert rule["http"]["paths"] == [
        {"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
        for path, service in (("/", "frontend-service"), ("/api", "backend-service"))
    ]


def test_autoscaler(rendered: Rendered) -> None:
    scaler = rendered["HorizontalPodAutoscaler", "backend-hpa"]
    assert scaler["apiVersion"] == "autoscaling/v2"
    assert scaler["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "backend"},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
    }


def test_network_policies_name_who_may_speak_with_whom(with_database: Rendered) -> None:
    def sources(name: str) -> list[tuple[list[dict[str, Any]], list[int]]]:
        policy = with_database["NetworkPolicy", name]["spec"]
        assert policy["podSelector"] == {"matchLabels": {"app": name}}
        assert "Ingress" in policy["policyTypes"]
        return [(rule["from"], [one["port"] for one in rule["ports"]]) for rule in policy["ingress"]]

    controller = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    assert sources("frontend") == [([controller], [3000])]
    assert sources("backend") == [([{"podSelector": {"matchLabels": {"app": "frontend"}}}, controller], [8000])]
    assert sources("database") == [([{"podSelector": {"matchLabels": {"app": "backend"}}}], [5432])]
    egress = {name: with_database["NetworkPolicy", name]["spec"].get("egress") for name in ("frontend", "database")}
    assert [rule["to"] for rule in egress["frontend"]] == [
        [{"podSelector": {"matchLabels": {"app": "backend"}}}],
        [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    ]
    assert egress["database"] is None, "and its type is listed: it speaks with nobody"
    assert "Egress" in with_database["NetworkPolicy", "database"]["spec"]["policyTypes"]


def test_global_values_reach_every_part(todo: Chart) -> None:
    rendered = todo.render(
        {"global": {"imageRegistry": "reg.example", "imagePullSecrets": [{"name": "pull"}], "storageClass": "fast"},
         "database": {"enabled": True}},
        release="todo",
    )  # fmt: skip
    for name in (*PARTS, "database"):
        assert rendered.container(name)["image"].startswith(f"reg.example/todo-{name}:")
        assert rendered.pod(name)["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    (claim,) = rendered["StatefulSet", "database"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize("name", PARTS)
def test_where_pods_may_run_can_be_said(todo: Chart, name: str) -> None:
    wanted = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
    }
    pod = todo.render({name: wanted}, release="todo").pod(name)["spec"]
    assert {key: pod[key] for key in wanted} == wanted


def test_a_mutable_tag_is_refused(todo: Chart) -> None:
    assert "/image/tag" in todo.refusal({"backend": {"image": {"tag": "latest"}}})


def test_the_database_is_one_of_the_applications_own(with_database: Rendered) -> None:
    spec = with_database["StatefulSet", "database"]["spec"]
    assert spec["replicas"] == 1
    assert with_database["Service", "database-service"]["spec"]["ports"][0]["port"] == 5432
    environment = {one["name"]: one for one in with_database.container("database")["env"]}
    source = environment["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert source == {"name": "database-credentials", "key": "POSTGRES_PASSWORD"}
