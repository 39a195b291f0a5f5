"""A small application that keeps every rule, to be broken in one place at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from deployer.config.load import LoadedSpec, Origin
from deployer.config.spec import Spec
from deployer.core.ports import Object
from deployer.core.yaml import Location
from deployer.plan import ImagePlan, ImageSource, Plan, ReleasePlan, SecretPlan, UrlPlan
from deployer.plan.make import cors_plans
from deployer.preflight.rules.model import Cluster, Machine, Rendered, Subject
from deployer.sources.dotenv import EnvEntry, EnvFile

Change = Callable[[dict[str, Any]], object]

SPEC: dict[str, Any] = {
    "apiVersion": "todo-deploy/v1",
    "application": "shop",
    "images": {"api": {"repository": "shop-api", "version": "1.0.0", "context": "api"}},
    "secrets": {"app-secrets": {"naming": "stable", "keys": {"DATABASE_URL": {}, "API_TOKEN": {"kind": "optional"}}}},
    "releases": {
        "shop": {
            "chart": "charts/shop",
            "images": {"api": {"api.tag": "{tag}"}},
            "secrets": {"app-secrets": {"api.sums": "{checksums}"}},
        }
    },
    "urls": {"api": {"service": "api", "nodePort": 30080}},
    "cluster": {"addons": ["ingress", "metrics-server"], "provider": "context", "context": "mine"},
}


def deployment() -> Object:
    """A Deployment that keeps every rule."""
    probe = {"httpGet": {"path": "/", "port": 8000}, "timeoutSeconds": 1, "periodSeconds": 5}
    container = {
        "name": "api",
        "image": "shop-api:1.0.0-0123456789ab",
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8000, "name": "http"}],
        "env": [
            {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "app-secrets", "key": "DATABASE_URL"}}},
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "api-config", "key": "LEVEL"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "api-config"}}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}},
        "livenessProbe": probe,
        "readinessProbe": copy.deepcopy(probe),
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "api", "labels": {"app": "api", "tier": "back"}},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "api"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "api"}},
                "spec": {"securityContext": {"runAsNonRoot": True, "runAsUser": 1001}, "containers": [container]},
            },
        },
    }


def good_objects() -> dict[str, Any]:
    """The application's objects by a short name, and the other things that a case may change."""
    return {
        "deployment": deployment(),
        "service": {
            "kind": "Service",
            "metadata": {"name": "api"},
            "spec": {"type": "NodePort", "selector": {"app": "api"},
                     "ports": [{"port": 80, "targetPort": 8000, "nodePort": 30080}]},
        },
        "config": {"kind": "ConfigMap", "metadata": {"name": "api-config", "labels": {"app": "api"}},
                   "data": {"LEVEL": "info"}},
        "claim": {
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "api-data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
        "ingress": {
            "kind": "Ingress",
            "metadata": {"name": "api"},
            "spec": {"rules": [{"host": "shop.local", "http": {"paths": [
                {"path": "/", "backend": {"service": {"name": "api", "port": {"number": 80}}}}]}}]},
        },
        "scaler": {
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "other-hpa"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "other"}, "minReplicas": 1, "maxReplicas": 3,
                     "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]},
        },
        "other": other_deployment(),
    }  # fmt: skip


def other_deployment() -> Object:
    """A second Deployment, which an autoscaler counts."""
    other = deployment()
    other["metadata"]["name"] = "other"
    for labels in (other["metadata"]["labels"], other["spec"]["selector"]["matchLabels"]):
        labels["app"] = "other"
    other["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    del other["spec"]["replicas"]
    return other


def cluster(**changes: Any) -> Cluster:
    """A cluster that runs and has nothing but room."""
    known: dict[str, Any] = {
        "name": "mine",
        "allocatable": {"cpu": Fraction(4), "memory": Fraction(8 * 2**30), "pods": Fraction(110)},
        "architectures": frozenset({"amd64"}),
    }
    return Cluster(**{**known, **changes})


def strict(change: Change) -> Change:
    """The change, in a spec with `rules.policy: strict`."""

    def changed(parts: dict[str, Any]) -> None:
        change(parts)
        parts["spec"]["rules"] = {"policy": "strict", **parts["spec"].get("rules", {})}

    return changed


def subject(change: Change = lambda parts: None, *, folder: Path = Path("/project")) -> Subject:
    """The good application with one thing changed: objects by name, `spec`, `env`, `machine`, `cluster`, `chart`…"""
    parts: dict[str, Any] = {
        **good_objects(),
        "spec": copy.deepcopy(SPEC),
        "chart": {"version": "0.1.0", "appVersion": "1.0.0", "maintainers": [{"name": "us"}]},
        "env": {"DATABASE_URL": "postgresql://me:hunter2@somewhere/else"},
        "machine": Machine(),
        "cluster": cluster(),
        "unused": (),
        "not_built": (),
        "without_effect": (),
        "renewed": (),
        "size": 0,
        "context": {"main.py": "f", ".env.example": "f"},
        "args": {},
        "dockerfile": folder / "api/Dockerfile",
        "secrets": {"DATABASE_URL": "postgresql://me:hunter2@somewhere/else", "API_TOKEN": ""},
    }
    names = list(good_objects())
    change(parts)
    spec = Spec.model_validate(parts["spec"])
    loaded = LoadedSpec(spec, folder / "todo-deploy.yaml", None, parts["spec"], origins_of(parts["spec"]), folder)
    release = ReleasePlan("shop", "default", folder / "staged", {}, "1", ("api",), ("app-secrets",), (), 60.0)
    image = ImagePlan(
        "api", "shop-api", "1.0.0-0123456789ab", folder / "api", parts["dockerfile"], parts["args"],
        ("python:3.11",), None, {}, "500m", ImageSource("d", parts["context"]),
    )  # fmt: skip
    secret = SecretPlan("app-secrets", "default", "app-secrets-12345678", "app-secrets", "Opaque", {}, "c", {},
                        parts["secrets"])  # fmt: skip
    urls = tuple(
        UrlPlan(name, "default", url.service, url.ingress_host, url.port, url.path, url.expect, url.show, url.external)
        for name, url in spec.urls.items()
    )
    plan = Plan("shop", "default", (image,), (secret,), (release,), urls, cors_plans(spec, urls))
    objects = tuple(parts[name] for name in [*names, *parts.get("more", ())] if parts.get(name))
    rendered = Rendered(
        release,
        objects,
        parts["chart"],
        parts["unused"],
        parts["not_built"],
        parts["without_effect"],
        size=parts["size"],
        renewed=parts["renewed"],
    )
    entries = {key: EnvEntry(value, line, ".env") for line, (key, value) in enumerate(parts["env"].items(), 1)}
    made = Subject(loaded, plan, (rendered,), EnvFile(entries, ".env"), parts["cluster"], parts["machine"])
    return replace(made)


def origins_of(document: Any, at: Location = ()) -> dict[Location, Origin]:
    """An origin for every value: line numbers count the values up."""
    found: dict[Location, Origin] = {}

    def walk(value: Any, at: Location) -> None:
        found[at] = Origin("todo-deploy.yaml", len(found) + 1)
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in pairs:
            walk(item, (*at, key))

    walk(document, at)
    return found
