"""002-k8s-deployment, compared with its document entity by entity on what its charts render."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.plan import switch_states
from deployer.plan.tags import Commit, semver_commit_tag
from tests.topologies.rendering import ENV, NODE, Topology, render

NAME = "002-k8s-deployment"
COMPONENTS = {"todo-backend": (1, 8000), "todo-frontend": (2, 3000)}


def test_two_releases_with_a_deployment_a_service_and_a_config_map_each(topology: Topology) -> None:
    assert [release.name for release in topology.plan.releases] == list(COMPONENTS)
    for name in COMPONENTS:
        assert topology.of(name) == {("Deployment", name), ("Service", name), ("ConfigMap", f"{name}-config")}
    assert {release.namespace for release in topology.plan.releases} == {"todo"}


def test_without_a_database_url_there_is_a_third_release(helm: str, tmp_path: Path) -> None:
    topology = render(NAME, helm, tmp_path, env=ENV)
    assert [release.name for release in topology.plan.releases] == ["database", *COMPONENTS]
    assert switch_states(topology.loaded.spec, ENV) == {"database": True}
    assert {name: image.tag_policy for name, image in topology.loaded.spec.images.items()} == {
        "backend": "semver-commit",
        "frontend": "semver-commit",
        "database": "digest",
    }


def test_everything_is_in_the_namespace(topology: Topology) -> None:
    assert {body["metadata"]["namespace"] for body in topology.objects.values()} == {"todo"}
    assert {secret.namespace for secret in topology.plan.secrets} == {"todo"}
    assert topology.loaded.spec.rules.layout.namespaces == "one"


@pytest.mark.parametrize("name", ["backend", "frontend"])
def test_images_have_a_version_and_a_commit(topology: Topology, name: str) -> None:
    (image,) = [one for one in topology.plan.images if one.name == name]
    assert image.repository == f"todo-{name}"
    assert re.fullmatch(r"1\.0\.0-([0-9a-f]{7}|[0-9a-f]{12})", image.tag)
    assert topology.container(f"todo-{name}")["image"] == image.ref
    assert topology.loaded.spec.rules.tag_policy == "semver-commit"


def test_the_tag_has_the_commit_of_a_clean_tree_and_is_marked_otherwise() -> None:
    sha, digest = "abc1234" + "0" * 33, "d" * 64
    assert semver_commit_tag("1.0.0", digest, Commit(sha, True), {}).text == "1.0.0-abc1234"
    dirty = semver_commit_tag("1.0.0", digest, Commit(sha, False), {})
    assert dirty.text == f"1.0.0-{'d' * 12}"
    assert "abc1234" in dirty.reason


@pytest.mark.parametrize("name", COMPONENTS)
def test_deployment(topology: Topology, name: str) -> None:
    replicas, port = COMPONENTS[name]
    spec, container = topology.deployment(name), topology.container(name)
    assert spec["replicas"] == replicas
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert spec["selector"] == {"matchLabels": {"app": name}}
    assert container["ports"] == [{"containerPort": port, "protocol": "TCP"}]
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": port}
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": port}
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}


def test_replica_counts_are_a_rule(topology: Topology) -> None:
    assert topology.loaded.spec.rules.replicas.exactly == {"todo-frontend": 2, "todo-backend": 1}


def test_services(topology: Topology) -> None:
    port = {"name": "http", "protocol": "TCP"}
    assert topology["Service", "todo-backend"]["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "todo-backend"},
        "ports": [{**port, "port": 8000, "targetPort": 8000}],
    }
    assert topology["Service", "todo-frontend"]["spec"] == {
        "type": "NodePort",
        "selector": {"app": "todo-frontend"},
        "ports": [{**port, "port": 3000, "targetPort": 3000, "nodePort": 30020}],
    }


def test_backend_configuration(topology: Topology) -> None:
    assert topology["ConfigMap", "todo-backend-config"]["data"] == {
        "CORS_ORIGINS": f"http://todo-frontend:3000,http://{NODE}:30020",
        "BACKEND_HOST": "0.0.0.0",
        "BACKEND_PORT": "8000",
    }
    assert topology.variables("todo-backend") == {
        **{key: f"todo-backend-config/{key}" for key in ("CORS_ORIGINS", "BACKEND_HOST", "BACKEND_PORT")},
        "ALLOWED_ORIGINS": "todo-backend-config/CORS_ORIGINS",
        "DATABASE_URL": "todo-secrets/DATABASE_URL",
        "BETTER_AUTH_SECRET": "todo-secrets/JWT_SECRET",
        "OPENAI_API_KEY": "todo-secrets/OPENAI_API_KEY",
    }


def test_frontend_configuration(topology: Topology) -> None:
    assert topology["ConfigMap", "todo-frontend-config"]["data"] == {"NEXT_PUBLIC_API_URL": "http://todo-backend:8000"}
    assert topology.variables("todo-frontend") == {
        "NEXT_PUBLIC_API_URL": "todo-frontend-config/NEXT_PUBLIC_API_URL",
        "BETTER_AUTH_SECRET": "todo-secrets/JWT_SECRET",
    }


def test_secret(topology: Topology) -> None:
    (secret,) = topology.plan.secrets
    assert (secret.stable, secret.type) == ("todo-secrets", "Opaque")
    assert secret.data.keys() == {"DATABASE_URL", "JWT_SECRET", "OPENAI_API_KEY"}
    assert secret.data["JWT_SECRET"] == ENV["JWT_SECRET"]
