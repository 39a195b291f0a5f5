"""004-local-k8s-deployment, compared with its document on what its spec renders.

The chart's own defaults, which are the document's, are compared in tests/charts/test_todo.py.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

from deployer.cluster.addons.table import ADDONS
from tests.topologies.rendering import ENV, OUTSIDE, Topology, render

NAME = "004-local-k8s-deployment"
PARTS = ("frontend", "backend")


def test_the_topology_has_nothing_more_and_nothing_less(topology: Topology) -> None:
    assert set(topology.objects) == {
        *((kind, name) for kind in ("Deployment", "NetworkPolicy") for name in PARTS),
        *(("Service", f"{name}-service") for name in PARTS),
        ("Ingress", "todo-ingress"),
        ("HorizontalPodAutoscaler", "backend-hpa"),
    }
    assert {body["metadata"]["namespace"] for body in topology.objects.values()} == {"todo-local"}
    assert [release.name for release in topology.plan.releases] == ["todo"]


def test_without_a_database_url_the_switch_turns_the_database_on(helm: str, tmp_path: Path) -> None:
    topology = render(NAME, helm, tmp_path, env=ENV)
    assert ("StatefulSet", "database") in topology.objects
    (secret,) = [one for one in topology.plan.secrets if one.name == "todo-secrets"]
    assert secret.data["DATABASE_URL"] == f"postgresql://todo:{ENV['POSTGRES_PASSWORD']}@database-service:5432/todo"


def test_images(topology: Topology) -> None:
    known = {image.name: image for image in topology.plan.images}
    for name in PARTS:
        assert known[name].repository == f"todo-{name}"
        assert re.fullmatch(r"1\.0\.0-[0-9a-f]{12}", known[name].tag)
        assert topology.container(name)["image"] == known[name].ref
    bases = {name: image.bases for name, image in topology.loaded.spec.images.items()}
    assert bases["frontend"] == {"NODE_IMAGE": "node:18-alpine"}
    assert bases["backend"] == {"PYTHON_IMAGE": "python:3.11-slim"}


def _stage(text: str, name: str = "") -> list[str]:
    """The lines of the stage, or of the last one, after those of the stage that it is built on."""
    stages = re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]
    stage = next(one for one in reversed(stages) if not name or one.splitlines()[0].endswith(f" AS {name}"))
    below = stage.split()[1]
    return [*(_stage(text, below) if f" AS {below}\n" in text else ()), *stage.splitlines()]


@pytest.mark.parametrize("name", PARTS)
def test_images_work_in_app(topology: Topology, name: str) -> None:
    (image,) = [one for one in topology.plan.images if one.name == name]
    port = topology.container(name)["ports"][0]["containerPort"]
    last = _stage(image.dockerfile.read_text())
    assert "WORKDIR /app" in last
    assert f"EXPOSE {port}" in last or ("EXPOSE ${PORT}" in last and f"ARG PORT={port}" in last)


def test_the_secret_is_the_documented_one_and_every_key_is_a_variable(topology: Topology) -> None:
    (secret,) = topology.plan.secrets
    assert (secret.name, secret.served, secret.type) == ("todo-secrets", "todo-secrets", "Opaque")
    assert set(secret.data) == {"BETTER_AUTH_SECRET", "COHERE_API_KEY", "DATABASE_URL"}
    for name in PARTS:
        assert topology.container(name)["envFrom"] == [{"secretRef": {"name": "todo-secrets"}}]
        annotations = topology["Deployment", name]["spec"]["template"]["metadata"]["annotations"]
        assert annotations["checksum/secrets"], "a changed key restarts the pods"


def test_no_value_of_the_secret_is_rendered(topology: Topology) -> None:
    assert OUTSIDE["DATABASE_URL"] not in repr(topology.objects)
    assert OUTSIDE["BETTER_AUTH_SECRET"] not in repr(topology.objects)


def test_the_documented_figures_are_rendered(topology: Topology) -> None:
    for name in PARTS:
        assert topology.container(name)["resources"] == {
            "requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}
        }  # fmt: skip
    scaler = topology["HorizontalPodAutoscaler", "backend-hpa"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 10)
    assert scaler["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    assert "behavior" not in scaler
    assert topology.deployment("frontend")["replicas"] == 2
    replicas = topology.loaded.spec.rules.replicas
    assert (replicas.min, replicas.max) == (1, 5)


def test_the_small_profile_lowers_requests_and_nothing_else(helm: str, tmp_path: Path, topology: Topology) -> None:
    small, documented = render(NAME, helm, tmp_path, "small").objects, copy.deepcopy(dict(topology.objects))
    for name in PARTS:
        pairs = [one["Deployment", name]["spec"]["template"] for one in (small, documented)]
        lowered, asked = (one["spec"]["containers"][0]["resources"].pop("requests") for one in pairs)
        assert int(lowered["cpu"].removesuffix("m")) < int(asked["cpu"].removesuffix("m"))
        assert int(lowered["memory"].removesuffix("Mi")) < int(asked["memory"].removesuffix("Mi"))
        for template in pairs:
            template["metadata"].pop("annotations")  # salted anew for each plan
    assert small == documented


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "frontend-service"),
        ("/login", "frontend-service"),
        ("/_next/static/a.js", "frontend-service"),
        ("/apiary", "frontend-service"),
        ("/api", "backend-service"),
        ("/api/", "backend-service"),
        ("/api/tasks/1", "backend-service"),
    ],
)
def test_what_the_rewrite_is_for_holds(topology: Topology, path: str, service: str) -> None:
    """As ingress-nginx and Traefik do it: the longest pattern that matches from the start, its group in the target."""
    ingress = topology["Ingress", "todo-ingress"]
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/use-regex"] == "true"
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "todo.local"
    matching = [one for one in rule["http"]["paths"] if re.match("^" + one["path"], path)]
    chosen = max(matching, key=lambda one: len(one["path"]))
    assert chosen["backend"]["service"] == {"name": service, "port": {"number": 80}}
    found = re.match("^" + chosen["path"], path)
    assert found is not None
    assert annotations["nginx.ingress.kubernetes.io/rewrite-target"].replace("$1", found[1]) == path


def test_pods_are_spread_where_they_may_run(topology: Topology) -> None:
    for name in PARTS:
        pod = topology.pod(name)
        assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
        assert pod["tolerations"][0]["tolerationSeconds"] == 60
        (term,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert term["podAffinityTerm"]["labelSelector"] == {"matchLabels": {"app": name}}
        assert term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"


def test_the_parts_know_each_other_and_the_host(topology: Topology) -> None:
    plain = {name: {one["name"]: one["value"] for one in topology.container(name)["env"]} for name in PARTS}
    assert plain["frontend"] == {
        "BETTER_AUTH_URL": "http://todo.local",
        "NEXT_PUBLIC_API_URL": "http://backend-service",
    }
    assert plain["backend"] == {"ALLOWED_ORIGINS": "http://todo.local"}


def test_the_addons_that_ingress_and_autoscaler_need_are_asked_for(topology: Topology) -> None:
    asked = topology.loaded.spec.cluster.addons
    assert set(asked) == {"ingress", "metrics-server"} <= set(ADDONS)


def test_both_paths_are_proven_through_the_ingress(topology: Topology) -> None:
    urls = {one.name: (one.ingress_host, one.path) for one in topology.plan.urls}
    assert urls == {"web": ("todo.local", "/"), "api": ("todo.local", "/api/health")}
