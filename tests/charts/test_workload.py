"""One component by itself: its defaults, its optional objects, and values that other topologies need."""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.conftest import Chart

RULE = {"from": [{"podSelector": {"matchLabels": {"app": "frontend"}}}], "ports": [{"port": 8080}]}


def test_a_release_of_its_own_needs_an_image_only(workload: Chart) -> None:
    rendered = workload.render()
    assert set(rendered) == {("Deployment", "web"), ("Service", "web-service")}
    assert rendered["Deployment", "web"]["spec"]["replicas"] == 1
    assert rendered["Deployment", "web"]["metadata"]["labels"] == {
        "app": "web",
        "app.kubernetes.io/name": "web",
        "app.kubernetes.io/instance": "todo-app",
        "app.kubernetes.io/version": "1.0.0-aaaaaaaaaaaa",
        "app.kubernetes.io/component": "web",
        "app.kubernetes.io/part-of": "todo-app",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "workload-0.1.0",
    }
    assert rendered.pod("web")["metadata"] == {"labels": {"app": "web"}}


def test_nothing_is_rendered_when_disabled(workload: Chart) -> None:
    assert not list(workload.render({"enabled": False}))


def test_every_name_can_be_chosen(workload: Chart) -> None:
    rendered = workload.render(
        {
            "name": "todo-backend",
            "service": {"name": "todo-backend"},
            "config": {"enabled": True, "name": "settings", "data": {"A": "1"}},
            "persistence": {"enabled": True, "name": "files", "mountPath": "/data"},
            "autoscaling": {"enabled": True, "name": "scaler"},
            "podDisruptionBudget": {"enabled": True, "name": "budget"},
            "networkPolicy": {"enabled": True, "name": "closed"},
            "ingress": {"enabled": True, "name": "todo-ingress", "hosts": [{"host": "a", "paths": [{"path": "/"}]}]},
            "serviceAccount": {"create": True, "name": "robot"},
        }
    )
    assert set(rendered) == {
        ("Deployment", "todo-backend"),
        ("Service", "todo-backend"),
        ("ConfigMap", "settings"),
        ("PersistentVolumeClaim", "files"),
        ("HorizontalPodAutoscaler", "scaler"),
        ("PodDisruptionBudget", "budget"),
        ("NetworkPolicy", "closed"),
        ("Ingress", "todo-ingress"),
        ("ServiceAccount", "robot"),
    }
    assert rendered.container("todo-backend")["name"] == "todo-backend"
    assert rendered.container("todo-backend")["envFrom"] == [{"configMapRef": {"name": "settings"}}]
    assert rendered.pod("todo-backend")["spec"]["serviceAccountName"] == "robot"
    assert all(rendered[key]["metadata"]["labels"]["app"] == "todo-backend" for key in rendered)


def test_free_labels_cannot_detach_an_object(workload: Chart) -> None:
    rendered = workload.render({"labels": {"app": "other", "tier": "x"}, "podLabels": {"app": "other"}})
    assert rendered["Deployment", "web"]["metadata"]["labels"]["app"] == "web"
    assert rendered.pod("web")["metadata"]["labels"] == {"app": "web"}


def test_autoscaler_owns_the_number_of_replicas(workload: Chart) -> None:
    rendered = workload.render(
        {"replicaCount": 2, "autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}}
    )
    assert "replicas" not in rendered["Deployment", "web"]["spec"]
    assert rendered["HorizontalPodAutoscaler", "web-hpa"]["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
        ({"minAvailable": 0}, {"minAvailable": 0}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
    ],
)
def test_disruption_budget_has_exactly_one_bound(
    workload: Chart, values: dict[str, Any], field: dict[str, Any]
) -> None:
    rendered = workload.render({"podDisruptionBudget": {"enabled": True, **values}})
    budget = rendered["PodDisruptionBudget", "web-pdb"]
    assert budget["apiVersion"] == "policy/v1"
    assert budget["spec"] == {**field, "selector": {"matchLabels": {"app": "web"}}}


def test_ingress_routes_to_its_own_and_to_other_services(workload: Chart) -> None:
    paths = [
        {"path": "/"},
        {"path": "/api(/|$)(.*)", "pathType": "ImplementationSpecific", "serviceName": "api", "servicePort": 81},
    ]
    rendered = workload.render(
        {
            "service": {"port": 80},
            "ingress": {
                "enabled": True,
                "annotations": {"nginx.ingress.kubernetes.io/rewrite-target": "/$2"},
                "hosts": [{"host": "todo.local", "paths": paths}],
            },
        }
    )
    ingress = rendered["Ingress", "web"]

    def path(path: str, kind: str, service: str, port: int) -> dict[str, Any]:
        backend = {"service": {"name": service, "port": {"number": port}}}
        return {"path": path, "pathType": kind, "backend": backend}

    assert ingress["apiVersion"] == "networking.k8s.io/v1"
    assert ingress["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/rewrite-target": "/$2"}
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": "todo.local",
                "http": {
                    "paths": [
                        path("/", "Prefix", "web-service", 80),
                        path("/api(/|$)(.*)", "ImplementationSpecific", "api", 81),
                    ]
                },
            }
        ],
    }
    assert rendered["Service", "web-service"]["spec"]["ports"] == [
        {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    ]


def test_network_policy(workload: Chart) -> None:
    closed = workload.render({"networkPolicy": {"enabled": True}})["NetworkPolicy", "web"]["spec"]
    assert closed == {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}
    opened = workload.render({"networkPolicy": {"enabled": True, "ingress": [RULE]}})["NetworkPolicy", "web"]["spec"]
    assert opened["ingress"] == [RULE]


def test_claim_outlives_the_release(workload: Chart) -> None:
    values = {"enabled": True, "mountPath": "/data", "size": "10Gi"}
    rendered = workload.render({"persistence": values, "global": {"storageClass": "standard"}})
    claim = rendered["PersistentVolumeClaim", "web-data"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    assert {"name": "web-data", "mountPath": "/data"} in rendered.container("web")["volumeMounts"]
    assert {"name": "web-data", "persistentVolumeClaim": {"claimName": "web-data"}} in rendered.pod("web")["spec"][
        "volumes"
    ]
    dropped = workload.render({"persistence": {**values, "keep": False}})["PersistentVolumeClaim", "web-data"]
    assert "annotations" not in dropped["metadata"]


def test_stateful_set(workload: Chart) -> None:
    rendered = workload.render(
        {
            "kind": "StatefulSet",
            "strategy": {"type": "OnDelete"},
            "service": {"headless": True},
            "persistence": {"enabled": True, "mountPath": "/data", "keep": False},
            "autoscaling": {"enabled": True},
        }
    )
    spec = rendered["StatefulSet", "web"]["spec"]
    assert set(rendered) == {("StatefulSet", "web"), ("Service", "web-service"), ("HorizontalPodAutoscaler", "web-hpa")}
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"
    assert not {"replicas", "strategy", "progressDeadlineSeconds"} & spec.keys()
    assert rendered["Service", "web-service"]["spec"]["clusterIP"] == "None"
    assert rendered["HorizontalPodAutoscaler", "web-hpa"]["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"


def test_recreate_carries_no_rolling_update(workload: Chart) -> None:
    rendered = workload.render({"strategy": {"type": "Recreate"}})
    assert rendered["Deployment", "web"]["spec"]["strategy"] == {"type": "Recreate"}


def test_environment_from_every_source(workload: Chart) -> None:
    pod_ip = {"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    rendered = workload.render(
        {
            "env": {"PLAIN": "$(TOKEN)!", "POD_IP": pod_ip},
            "secretEnv": {"TOKEN": {"secret": "s", "key": "T", "optional": True}},
            "configEnv": {"CORS_ORIGINS": {"key": "ALLOWED_ORIGINS"}},
            "envFromSecrets": ["todo-secrets"],
            "config": {"enabled": True, "envFrom": False, "data": {"ALLOWED_ORIGINS": "*"}, "immutable": True},
        }
    )
    container = rendered.container("web")
    assert container["env"] == [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "T", "optional": True}}},
        {"name": "CORS_ORIGINS", "valueFrom": {"configMapKeyRef": {"name": "web-config", "key": "ALLOWED_ORIGINS"}}},
        {"name": "PLAIN", "value": "$(TOKEN)!"},
        {"name": "POD_IP", **pod_ip},
    ]
    assert container["envFrom"] == [{"secretRef": {"name": "todo-secrets"}}]
    assert rendered["ConfigMap", "web-config"]["immutable"] is True


def test_free_parts_of_the_pod_arrive_unchanged(workload: Chart) -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}
    spread = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", **term}
    scheduling: dict[str, Any] = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        "topologySpreadConstraints": [spread],
        "initContainers": [{"name": "wait", "image": "busybox:1.37"}],
    }
    probe = {"httpGet": {"path": "/startup", "port": 8080}, "periodSeconds": 5, "failureThreshold": 30}
    rendered = workload.render(
        {
            **scheduling,
            "command": ["serve"],
            "args": ["--port", "8080"],
            "containerPortName": "http",
            "probes": {"startup": probe, "liveness": None},
            "extraVolumes": [{"name": "cache", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "cache", "mountPath": "/cache"}],
            "tmp": {"enabled": False},
            "podAnnotations": {"a": "b"},
            "global": {"imageRegistry": "localhost:5000", "imagePullSecrets": [{"name": "pull"}]},
        }
    )
    pod = rendered.pod("web")
    container = rendered.container("web")
    assert pod["spec"].items() >= scheduling.items()
    assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["spec"]["volumes"] == [{"name": "cache", "emptyDir": {}}]
    assert pod["metadata"]["annotations"] == {"a": "b"}
    assert container["image"] == "localhost:5000/todo-backend:1.0.0-aaaaaaaaaaaa"
    assert container["command"] == ["serve"]
    assert container["args"] == ["--port", "8080"]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP", "name": "http"}]
    assert container["startupProbe"] == probe
    assert "livenessProbe" not in container
    assert container["volumeMounts"] == [{"name": "cache", "mountPath": "/cache"}]


def test_a_worker_has_no_port_and_no_service(workload: Chart) -> None:
    rendered = workload.render({"port": None, "service": {"enabled": False}, "preStopSeconds": 0})
    assert set(rendered) == {("Deployment", "web")}
    assert not {"ports", "lifecycle"} & rendered.container("web").keys()


def test_files_are_mounted_from_the_configmap(workload: Chart) -> None:
    data = {"nginx.conf": "events {}\n", "A": "1"}
    rendered = workload.render({"config": {"enabled": True, "envFrom": False, "data": data}})
    assert rendered["ConfigMap", "web-config"]["data"] == data
    assert "envFrom" not in rendered.container("web")


def test_an_image_of_others_is_taken_as_it_is_named(workload: Chart) -> None:
    ref = "quay.io:443/acme/tool@sha256:" + "a" * 64
    image = {"ref": ref, "repository": "", "tag": ""}
    rendered = workload.render({"image": image, "global": {"imageRegistry": "r:5000"}})
    assert rendered.container("web")["image"] == ref


def test_further_ports_and_fields_are_those_of_the_specs(workload: Chart) -> None:
    extra = [{"name": "udp-53", "port": 53, "protocol": "UDP"}]
    rendered = workload.render({
        "service": {"extraPorts": extra}, "env": {"discovery.type": "single-node"},
        "podSpec": {"hostname": "a"}, "containerSpec": {"workingDir": "/srv"},
    })  # fmt: skip
    assert rendered["Service", "web-service"]["spec"]["ports"][1:] == extra
    assert (rendered.pod("web")["spec"]["hostname"], rendered.container("web")["workingDir"]) == ("a", "/srv")
    alone = workload.render({"port": None, "service": {"extraPorts": extra}})
    assert alone["Service", "web-service"]["spec"]["ports"] == extra
