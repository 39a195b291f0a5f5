"""001-phase-iv, compared with its document entity by entity on what its chart renders."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.charts.conftest import KUBE_VERSION
from tests.charts.staging import CHARTS
from tests.topologies.rendering import ENV, NODE, Topology, render

NAME = "001-phase-iv"
CHART = CHARTS / "phase-iv"
COMPONENTS = {"frontend": 3000, "backend": 8000}


def other(topology: Topology, helm: str, *settings: str) -> dict[tuple[str, str], Any]:
    """What the chart renders with further `--set` values."""
    (release,) = [one for one in topology.plan.releases if one.name == "phase-iv"]
    words = [helm, "template", "x", str(release.chart), "--kube-version", KUBE_VERSION, "--values", "-"]
    words += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(words, input=json.dumps(release.values), capture_output=True, text=True, check=True)
    return {(one["kind"], one["metadata"]["name"]): one for one in YAML(typ="safe").load_all(done.stdout) if one}


def container(objects: dict[tuple[str, str], Any], name: str) -> Any:
    return objects["Deployment", name]["spec"]["template"]["spec"]["containers"][0]


def test_the_topology_has_nothing_more_and_nothing_less(topology: Topology) -> None:
    assert set(topology.objects) == {
        (kind, name) for kind in ("Deployment", "Service") for name in ("frontend", "backend")
    } | {("ConfigMap", "frontend-config"), ("ConfigMap", "backend-config")}
    assert {body["metadata"]["namespace"] for body in topology.objects.values()} == {"phase-iv"}


def test_without_a_database_url_there_is_a_database_as_a_release_of_its_own(helm: str, tmp_path: Path) -> None:
    topology = render(NAME, helm, tmp_path, env=ENV)
    assert topology.of("database") == {("StatefulSet", "database"), ("Service", "database-service")}


def test_cluster(topology: Topology) -> None:
    cluster = topology.loaded.spec.cluster
    assert (cluster.driver, cluster.cpus, cluster.memory, cluster.disk) == ("docker", 4, "8g", "20g")
    assert cluster.kubernetes_version.startswith("v1.")


@pytest.mark.parametrize("name", COMPONENTS)
def test_deployment(topology: Topology, name: str) -> None:
    spec, container = topology.deployment(name), topology.container(name)
    assert spec["replicas"] == 1
    assert spec["selector"] == {"matchLabels": {"app": name}}
    assert spec["template"]["metadata"]["labels"] == {"app": name}
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert spec["minReadySeconds"] == 3
    assert container["name"] == name
    assert container["ports"] == [{"containerPort": COMPONENTS[name], "protocol": "TCP"}]
    (image,) = [one for one in topology.plan.images if one.name == name]
    assert container["image"] == image.ref == f"phase-iv-{name}:{image.tag}"


def test_services(topology: Topology) -> None:
    port = {"name": "http", "protocol": "TCP"}
    assert topology["Service", "frontend"]["spec"] == {
        "type": "NodePort",
        "selector": {"app": "frontend"},
        "ports": [{**port, "port": 3000, "targetPort": 3000, "nodePort": 30010}],
    }
    assert topology["Service", "backend"]["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "backend"},
        "ports": [{**port, "port": 8000, "targetPort": 8000}],
    }


def test_environment(topology: Topology) -> None:
    assert topology.variables("frontend") == {
        "NEXT_PUBLIC_API_URL": "frontend-config/NEXT_PUBLIC_API_URL",
        "NEXT_PUBLIC_BASE_PATH": "frontend-config/NEXT_PUBLIC_BASE_PATH",
        "BETTER_AUTH_SECRET": f"{topology.plan.secrets[0].copy}/BETTER_AUTH_SECRET",
    }
    assert topology["ConfigMap", "frontend-config"]["data"] == {
        "NEXT_PUBLIC_API_URL": "http://backend:8000",
        "NEXT_PUBLIC_BASE_PATH": "/todo",
    }
    secret = topology.plan.secrets[0].copy
    assert topology.variables("backend") == {
        "BACKEND_CORS_ORIGINS": "backend-config/BACKEND_CORS_ORIGINS",
        "ALLOWED_ORIGINS": "backend-config/BACKEND_CORS_ORIGINS",
        **{key: f"{secret}/{key}" for key in ("DATABASE_URL", "COHERE_API_KEY", "BETTER_AUTH_SECRET")},
    }
    origins = topology["ConfigMap", "backend-config"]["data"]["BACKEND_CORS_ORIGINS"]
    assert origins == f"http://localhost:3000,http://{NODE}:30010"


def test_the_base_path_of_build_probes_and_setting_is_one(topology: Topology, helm: str) -> None:
    (image,) = [one for one in topology.plan.images if one.name == "frontend"]
    assert image.args["NEXT_PUBLIC_BASE_PATH"] == "/todo"
    for probe, path in (("livenessProbe", "/todo/health"), ("readinessProbe", "/todo/ready")):
        assert topology.container("frontend")[probe]["httpGet"]["path"] == path
        assert topology.container("backend")[probe]["httpGet"]["path"] == path.removeprefix("/todo")
    assert [url.path for url in topology.plan.urls if url.expect == 200] == ["/todo", "/todo/api/health"]
    plain = other(topology, helm, "frontend.config.data.NEXT_PUBLIC_BASE_PATH=")
    assert container(plain, "frontend")["livenessProbe"]["httpGet"]["path"] == "/health"


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_documented_value_takes_effect(topology: Topology, helm: str, name: str) -> None:
    settings = {
        "image.repository": "elsewhere/image",
        "image.tag": "9.9.9",
        "service.type": "LoadBalancer",
        "service.port": "1234",
        "replicaCount": "3",
    }
    rendered = other(topology, helm, *(f"{name}.{key}={value}" for key, value in settings.items()))
    assert container(rendered, name)["image"] == "elsewhere/image:9.9.9"
    assert rendered["Service", name]["spec"]["type"] == "LoadBalancer"
    assert rendered["Service", name]["spec"]["ports"][0]["port"] == 1234
    assert rendered["Deployment", name]["spec"]["replicas"] == 3


def test_resources_are_those_of_both_components(topology: Topology, helm: str) -> None:
    sizes = {"limits.cpu": "300m", "limits.memory": "1Gi", "requests.cpu": "10m", "requests.memory": "11Mi"}
    rendered = other(topology, helm, *(f"resources.{key}={value}" for key, value in sizes.items()))
    for name in COMPONENTS:
        assert container(rendered, name)["resources"] == {
            "limits": {"cpu": "300m", "memory": "1Gi"},
            "requests": {"cpu": "10m", "memory": "11Mi"},
        }


def test_documented_keys_are_in_the_charts_own_values() -> None:
    values = YAML(typ="safe").load(CHART / "values.yaml")
    for name, port in COMPONENTS.items():
        assert values[name]["image"].keys() == {"repository", "tag"}
        assert values[name]["service"]["port"] == port
        assert values[name]["service"]["type"]
        assert values[name]["replicaCount"] == 1
    assert {(part, key) for part, sizes in values["resources"].items() for key in sizes} == {
        (part, key) for part in ("limits", "requests") for key in ("cpu", "memory")
    }


def test_chart() -> None:
    metadata = YAML(typ="safe").load(CHART / "Chart.yaml")
    assert (metadata["apiVersion"], metadata["name"]) == ("v2", "phase-iv")
    assert metadata["version"] and metadata["appVersion"] and metadata["description"]
    assert [one["name"] for one in metadata["maintainers"]] == ["todo-deploy"]
    for part in ("values.yaml", "templates/all.yaml"):
        assert (CHART / part).stat().st_size > 0


@pytest.mark.parametrize(
    "setting",
    [
        "frontend.service.type=ClusterIP",
        "backend.replicaCount=0",
        "frontend.image.tag=latest",
        "resources.limits.gpu=1",
        "frontend.config.data.NEXT_PUBLIC_BASE_PATH=todo",
        "middle.replicaCount=1",
        "frontend.replicas=2",
        "backend.parentRenders=false",
    ],
)
def test_the_schema_refuses(topology: Topology, helm: str, setting: str) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        other(topology, helm, setting)
