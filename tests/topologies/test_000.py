"""000-todo-chatbot, compared with its document entity by entity on what its chart renders."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bench.topologies.checklists import ROOT
from deployer.plan.tags import semver_tag
from tests.charts.conftest import KUBE_VERSION
from tests.charts.staging import CHARTS
from tests.topologies.rendering import ENV, Topology, render

NAME = "000-todo-chatbot"
CHART = CHARTS / "todo-chatbot"
COMPONENTS = {"frontend": 8080, "backend": 8000}


def test_the_topology_has_nothing_more_and_nothing_less(topology: Topology) -> None:
    assert set(topology.objects) == {
        ("Deployment", "frontend"),
        ("Deployment", "backend"),
        ("Service", "frontend"),
        ("Service", "backend"),
        ("ConfigMap", "todo-chatbot-config"),
        ("PersistentVolumeClaim", "backend-data"),
    }
    assert {body["metadata"]["namespace"] for body in topology.objects.values()} == {"todo-chatbot"}
    assert [secret.name for secret in topology.plan.secrets] == ["todo-chatbot-secret", "todo-chatbot-auth"]


def test_without_a_database_url_there_is_a_database_as_a_release_of_its_own(helm: str, tmp_path: Path) -> None:
    topology = render(NAME, helm, tmp_path, env=ENV)
    assert topology.of("database") == {("StatefulSet", "database"), ("Service", "database-service")}
    (secret,) = [one for one in topology.plan.secrets if one.name == "todo-chatbot-secret"]
    assert secret.data["DATABASE_URL"] == f"postgresql://todo:{ENV['POSTGRES_PASSWORD']}@database-service:5432/todo"


@pytest.mark.parametrize("name", COMPONENTS)
def test_images_are_named_as_documented_and_have_a_semantic_version(topology: Topology, name: str) -> None:
    (image,) = [one for one in topology.plan.images if one.name == name]
    assert image.repository == f"todo-chatbot-{name}"
    assert re.fullmatch(r"\d+\.\d+\.\d+", image.tag)
    assert topology.container(name)["image"] == image.ref
    assert image.max_size == "500m"
    assert topology.loaded.spec.rules.tag_policy == "semver"


def test_a_version_is_never_given_to_other_content() -> None:
    used = {"1.0.0": "a" * 64}
    assert semver_tag("1.0.0", "a" * 64, used).text == "1.0.0"
    assert semver_tag("1.0.0", "b" * 64, used).text == "1.0.1"
    assert semver_tag("1.0.0", "c" * 64, used | {"1.0.1": "b" * 64}).text == "1.0.2"
    assert semver_tag("1.0.0", "a" * 64, used | {"1.0.1": "b" * 64}).text == "1.0.0"


@pytest.mark.parametrize("name", COMPONENTS)
def test_deployment(topology: Topology, name: str) -> None:
    spec, container = topology.deployment(name), topology.container(name)
    assert spec["replicas"] == 1
    assert spec["selector"] == {"matchLabels": {"app": name}}
    assert spec["template"]["metadata"]["labels"] == {"app": name}
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    assert spec["revisionHistoryLimit"] == 10
    assert container["ports"] == [{"containerPort": COMPONENTS[name], "protocol": "TCP"}]
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": COMPONENTS[name]}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": COMPONENTS[name]}
    assert topology.pod(name)["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 1001}.items()


@pytest.mark.parametrize(("profile", "replicas"), [(None, 1), ("local", 1), ("production", 3)])
def test_environments(helm: str, tmp_path: Path, profile: str | None, replicas: int) -> None:
    topology = render(NAME, helm, tmp_path, profile)
    assert {topology.deployment(name)["replicas"] for name in COMPONENTS} == {replicas}
    assert topology.loaded.spec.rules.replicas.min == replicas
    environment = "production" if profile == "production" else "development"
    assert {topology.variables(name)["ENVIRONMENT"] for name in COMPONENTS} == {environment}


def test_services(topology: Topology) -> None:
    for name, kind in (("frontend", "LoadBalancer"), ("backend", "ClusterIP")):
        port = COMPONENTS[name]
        assert topology["Service", name]["spec"] == {
            "type": kind,
            "selector": {"app": name},
            "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": port}],
        }
    url = topology.plan.urls[0]
    assert (url.service, url.external) == ("frontend", True)
    assert "metallb" in topology.loaded.spec.cluster.addons


def test_config_map(topology: Topology) -> None:
    config = topology["ConfigMap", "todo-chatbot-config"]
    assert config["data"] == {
        "BACKEND_API_URL": "http://backend:8000",
        "FRONTEND_URL": "http://localhost:8080",
        "LOG_LEVEL": "info",
        "ENABLE_ANALYTICS": "false",
    }
    assert not config.get("immutable", False)
    for name in COMPONENTS:
        assert topology.container(name)["envFrom"] == [{"configMapRef": {"name": "todo-chatbot-config"}}]
        assert topology.deployment(name)["template"]["metadata"]["annotations"]["checksum/config"]


def test_secret(topology: Topology) -> None:
    secret, auth = topology.plan.secrets
    assert (secret.stable, secret.type) == ("todo-chatbot-secret", "Opaque")
    assert set(secret.data) == {"DATABASE_URL", "OPENAI_API_KEY", "NEON_API_KEY"}
    assert (auth.stable, set(auth.data)) == ("todo-chatbot-auth", {"BETTER_AUTH_SECRET"})
    variables = topology.variables("backend")
    for key in secret.data:
        assert variables[key] == f"todo-chatbot-secret/{key}"
    assert "secret-canary" not in json.dumps(list(topology.objects.values()))


def test_the_programs_get_documented_settings_under_the_names_they_know(topology: Topology) -> None:
    frontend = topology.variables("frontend")
    assert frontend["NEXT_PUBLIC_API_URL"] == "todo-chatbot-config/BACKEND_API_URL"
    assert frontend["BETTER_AUTH_URL"] == "todo-chatbot-config/FRONTEND_URL"
    assert frontend["BETTER_AUTH_SECRET"] == "todo-chatbot-auth/BETTER_AUTH_SECRET"
    assert frontend["PORT"] == "8080"
    assert topology.variables("backend")["FRONTEND_URL"] == "todo-chatbot-config/FRONTEND_URL"


def test_volume_claim(topology: Topology) -> None:
    claim = topology["PersistentVolumeClaim", "backend-data"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    mount = {"name": "backend-data", "mountPath": "/data"}
    assert mount in topology.container("backend")["volumeMounts"]
    assert topology.variables("backend")["DATA_DIR"] == "/data"
    assert {"name": "backend-data", "persistentVolumeClaim": {"claimName": "backend-data"}} in topology.pod("backend")[
        "volumes"
    ]


def test_chart() -> None:
    metadata = YAML(typ="safe").load(CHART / "Chart.yaml")
    assert (metadata["name"], metadata["version"], metadata["appVersion"]) == ("todo-chatbot", "1.0.0", "1.0.0")
    assert metadata["description"]
    assert [one["alias"] for one in metadata["dependencies"]] == ["frontend", "backend"]
    for part in ("values.yaml", "values.schema.json", "templates/NOTES.txt", "values-production.yaml"):
        assert (CHART / part).stat().st_size > 0


def test_secrets_are_in_version_control_as_a_template_only() -> None:
    documents = list(YAML(typ="safe").load_all(CHART / "secret.yaml.example"))
    assert [one["metadata"]["name"] for one in documents] == ["todo-chatbot-secret", "todo-chatbot-auth"]
    assert {one["type"] for one in documents} == {"Opaque"}
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ("backend.service.type=LoadBalancer", "/backend/service/type"),
        ("frontend.service.type=ClusterIP", "/frontend/service/type"),
        ("frontend.replicaCount=0", "/frontend/replicaCount"),
        ("global.configData.todo-chatbot-config.LOG_LEVEL=loud", "LOG_LEVEL"),
        ("global.configData.todo-chatbot-config.FRONTEND_URL=here", "FRONTEND_URL"),
        ("backend.image.tag=latest", "/image/tag"),
        ("front.replicaCount=1", "front"),
    ],
)
def test_the_schema_refuses(topology: Topology, helm: str, values: str, complaint: str) -> None:

    (release,) = [one for one in topology.plan.releases if one.name == "todo-chatbot"]
    words = [
        helm,
        "template",
        "x",
        str(release.chart),
        "--kube-version",
        KUBE_VERSION,
        "--values",
        "-",
        "--set",
        values,
    ]
    done = subprocess.run(words, input=json.dumps(release.values), capture_output=True, text=True)
    assert done.returncode != 0
    assert complaint in done.stderr
