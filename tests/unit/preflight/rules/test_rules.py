"""Every rule: the good application keeps it, and one change breaks it and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import Problem
from deployer.core.ports import ObjectRef
from deployer.preflight.rules import model
from deployer.preflight.rules.judging import RULES, judge
from deployer.preflight.rules.model import Machine, NotBuilt, Rendered, as_taken, without_nulls
from deployer.sources.env_files import Leak
from deployer.toolchain.files import RECIPES
from tests.unit.preflight.rules.subjects import Change, cluster, deployment, good_objects, strict, subject
from tests.unit.preflight.rules.test_quotas import limit_range, quota

GIB = 2**30
HERE = Path(__file__).parent


def at(*path: Any, to: Any) -> Change:
    """The value at the path is replaced; with `to` None the key is taken away."""

    def change(parts: dict[str, Any]) -> None:
        place: Any = parts
        for key in path[:-1]:
            place = place[key]
        if to is None:
            del place[path[-1]]
        else:
            place[path[-1]] = to

    return change


POD = ("deployment", "spec", "template", "spec")
BOX = (*POD, "containers", 0)


def pod(cpu: str, owner: str = "", phase: str = "Running") -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": f"{owner}-5d9c7b", "controller": True}] if owner else []
    return {
        "metadata": {"name": "one", "namespace": "default", "ownerReferences": owners},
        "spec": {"containers": [{"resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    }


def foreign_service(name: str, port: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "theirs"}, "spec": {"ports": [{"port": 80, "nodePort": port}]}}


def volume(**source: Any) -> Change:
    mount = at(*BOX, "volumeMounts", to=[{"name": "v", "mountPath": "/v"}])
    return both(mount, at(*POD, "volumes", to=[{"name": "v", **source}]))


def more(body: dict[str, Any]) -> Change:
    return lambda parts: parts.update(extra=body, more=["extra"])


def config(name: str, *keys: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": dict.fromkeys(keys, "x")}


def secret(**data: Any) -> Change:
    """A chart's Secret, which one rule advises against."""
    rules = {"allow": ["SECRET_IN_CHART"]}
    return both(more({"kind": "Secret", "metadata": {"name": "s"}, **data}), at("spec", "rules", to=rules))


SERVED = frozenset({
    ("apps/v1", "Deployment"), ("v1", "Service"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
})  # fmt: skip


def thing(api: str = "example.com/v1", kind: str = "Thing") -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "t"}, "spec": {"template": None}}


def both(*changes: Change) -> Change:
    return lambda parts: [change(parts) for change in changes]


def found_in_files(rule: str) -> Machine:
    return Machine(problems={rule: (Problem("CODE", "the env file", where=".env"),)})


UNENCRYPTED = {"waive": [{"rule": "ENCRYPTION_AT_REST", "reason": "another rule's turn"}]}
LEAK = "postgresql://me:hunter2@somewhere/else"
POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "api"}, "spec": {"podSelector": {}}}
CALICO = {"metadata": {"name": "c", "ownerReferences": [{"kind": "DaemonSet", "name": "calico-node"}]},
          "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}  # fmt: skip
JOB = {"kind": "Job", "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": "pre-upgrade"}},
       "spec": {"template": {"spec": {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000}, "containers": [
           {"name": "migrate", "image": "shop-api:1.0.0-0123456789ab",
            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "X"}}}]}]}}}}  # fmt: skip

SYNC = at("spec", "images", "api", "sync", to=[{"from": "src/**", "to": "/app"}])
TIERS = {rule.name: rule.tier for rule in RULES}
MINIKUBE = both(
    at("spec", "cluster", to={"addons": ["ingress", "metrics-server"]}), at("spec", "rules", to=UNENCRYPTED)
)
FAST = both(
    at("claim", "spec", "storageClassName", to="fast"),
    at("cluster", to=cluster(storage_classes=frozenset({"standard", ""}))),
)
NO_DEFAULT = both(
    both(volume(persistentVolumeClaim={"claimName": "api-data"}),
         at("claim", "spec", "accessModes", to=["ReadWriteMany"])),
    at("cluster", to=cluster(storage_classes=frozenset({"slow"}))),
)  # fmt: skip
NGINX = at("cluster", to=cluster(ingress_classes=frozenset({"nginx"})))
# Rule, severity in a strict spec, what breaks it, a part of the sentence.
BAD: list[tuple[str, str, Change, str]] = [
    ("REFERENCE_MISSING", "error", volume(secret={"secretName": "app-secret"}), "Secret `app-secret`"),
    ("REFERENCE_MISSING", "error", volume(configMap={"name": "nowhere"}), "ConfigMap `nowhere`"),
    ("REFERENCE_MISSING", "error", volume(projected={"sources": [{"secret": {"name": "gone"}}]}), "`gone`"),
    ("REFERENCE_MISSING", "error", at(*BOX, "envFrom", 0, "configMapRef", "name", to="api-conf"), "`api-conf`"),
    ("REFERENCE_MISSING", "error", more(JOB), "job/migrate needs Secret `gone` (for X)"),
    ("REFERENCE_KEY_MISSING", "error", at(*BOX, "env", 0, "valueFrom", "secretKeyRef", "key", to="OPENAI_API_KEY"),
     "deployment/api needs OPENAI_API_KEY (secret app-secrets)"),
    ("REFERENCE_KEY_MISSING", "error", at(*BOX, "env", 1, "valueFrom", "configMapKeyRef", "key", to="LEVL"),
     "configmap api-config"),
    ("REFERENCE_KEY_MISSING", "error",
     volume(secret={"secretName": "app-secrets", "items": [{"key": "tls.crt", "path": "a"}]}), "tls.crt"),
    ("ENV_KEY_NEAR_MISS", "warning", at("env", "API_TOKN", to="x"), "API_TOKEN"),
    ("TAG_LATEST", "error", at(*POD, "initContainers", to=[{"name": "i", "image": "busybox"}]), "`busybox` has no tag"),
    ("TAG_LATEST", "error", at(*POD, "initContainers", to=[{"name": "i", "image": "localhost:5000/box"}]), "no tag"),
    ("TAG_FORM", "error", at(*BOX, "image", to="shop-api:v1"), "X.Y.Z"),
    ("TAG_NOT_BUILT", "error", at(*BOX, "image", to="shop-api:1.0.0"), "shop-api:1.0.0-0123456789ab"),
    ("TAG_POLICY", "error", at("spec", "rules", to={"tagPolicy": "semver-commit"}), "`digest`"),
    ("PULL_ALWAYS", "error", at(*BOX, "imagePullPolicy", to="Always"), "built here"),
    ("PULL_ALWAYS_FOREIGN", "warning",
     at(*POD, "initContainers", to=[{"name": "i", "image": "busybox:1.36.1", "imagePullPolicy": "Always"}]), "busybox"),
    ("IMAGE_ARCHITECTURE", "error", at("cluster", to=cluster(image_architectures={"python:3.11": "arm64"})), "arm64"),
    ("VALUE_UNUSED", "error", at("unused", to=((("releases", "shop", "images", "api", "api.tag"), "api.tag"),)),
     "`api.tag`"),
    ("IMAGE_NOT_BUILT", "error", at("not_built", to=(
        NotBuilt(("releases", "shop", "images", "api", "api.tag"), "deployment/api", "web:1.0.0", "shop-api:1.0.0"),)),
     "makes deployment/api use `web:1.0.0`"),
    ("IMAGE_NAME", "error", at(*POD, "initContainers", to=[{"name": "i", "image": "Busybox:1.36.1"}]),
     "`Busybox:1.36.1` is not the name of an image"),
    ("IMAGE_UNREACHABLE", "error", both(at(*POD, "initContainers", to=[{"name": "i", "image": "busybox:1.36.1"}]),
                                        at("machine", to=Machine(undeliverable={"busybox:1.36.1": "docker.io"}))),
     "docker.io does not answer"),
    ("VALUE_WITHOUT_EFFECT", "warning", at("without_effect", to=((("replicaCout",), "replicaCount"),)),
     "does not use the value `replicaCout`"),
    ("REQUESTS_MISSING", "error", at(*BOX, "resources", "requests", "memory", to=None), "no requests for memory"),
    ("LIMITS_MISSING", "error", at(*BOX, "resources", "limits", "memory", to=None), "no limits for memory"),
    ("QUANTITY_INVALID", "error", at(*BOX, "resources", "requests", "cpu", to="a lot"), "`a lot` is not"),
    ("REQUEST_ABOVE_LIMIT", "error", at(*BOX, "resources", "requests", "cpu", to="0.3"), "0.3 of 200m"),
    ("REQUEST_AT_LIMIT", "warning", at(*BOX, "resources", "requests", "cpu", to="0.2"), "0.2 of 200m"),
    ("LIVENESS_MISSING", "error", at(*BOX, "livenessProbe", to=None), "liveness"),
    ("READINESS_MISSING", "error", at(*BOX, "readinessProbe", to=None), "readiness"),
    ("PROBE_PORT", "error", at(*BOX, "readinessProbe", "httpGet", "port", to="web"), "port `web`"),
    ("PROBE_PORT", "warning", at(*BOX, "livenessProbe", "httpGet", "port", to="web"), "liveness probe asks port `web`"),
    ("PROBE_PORT", "warning", both(
        at(*BOX, "readinessProbe", "httpGet", "port", to="web"),
        both(at("deployment", "spec", "replicas", to=0), at("spec", "rules", to={"replicas": {"min": 0}}))),
     "readiness probe asks port `web`"),
    ("PROBE_PORT", "warning", at(*BOX, "livenessProbe", "httpGet", "port", to=9000), "port 9000; it declares 8000"),
    ("PROBE_TIMEOUT", "warning", at(*BOX, "livenessProbe", "timeoutSeconds", to=30), "waits 30 s"),
    ("RUNS_AS_ROOT", "error", at(*POD, "securityContext", to={"runAsUser": 1001}), "runAsNonRoot is not true"),
    ("RUNS_AS_ROOT", "error", at(*BOX, "securityContext", to={"runAsUser": 0}), "runAsUser: 0"),
    ("SYNC_READ_ONLY", "warning", both(SYNC, at(*BOX, "securityContext", to={"readOnlyRootFilesystem": True})),
     "cannot copy files to /app"),
    ("SYNC_NO_TAR", "warning", both(SYNC, at("dockerfile", to=RECIPES / "images/coredns.Dockerfile")), "scratch"),
    ("SOURCES_BEFORE_INSTALL", "warning", at("dockerfile", to=HERE / "sources_first.Dockerfile"), "its packages"),
    ("USER_NOT_NUMERIC", "warning", at(*POD, "securityContext", to={"runAsNonRoot": True}), "has no runAsUser"),
    ("USER_NOT_NUMERIC", "error", both(at(*POD, "securityContext", to={"runAsNonRoot": True}),
                                       at("machine", to=Machine(image_users={"api": "node"}))), "`node`"),
    ("USER_BELOW_1000", "warning", at(*POD, "securityContext", "runAsUser", to=101), "user 101"),
    ("SERVICE_SELECTOR", "error", at("service", "spec", "selector", to={"app": "apy"}), "app=apy"),
    ("SERVICE_TARGET_PORT", "error", at("service", "spec", "ports", 0, "targetPort", to=8001), "8001"),
    ("SERVICE_TARGET_PORT", "error", at("service", "spec", "ports", 0, "targetPort", to="web"), "web"),
    ("PORT_NUMBER", "error", both(at("service", "spec", "ports", 0, "port", to="80"), at("ingress", to={})),
     "'80' is not"),
    ("PORT_NUMBER", "error", both(at(*BOX, "ports", to=[]), at("service", "spec", "ports", to=[
        {"port": 80, "targetPort": 8000, "nodePort": 30080}, {"port": 70000, "targetPort": 8000}])), "70000"),
    ("PORT_NUMBER", "error", at("service", "spec", "ports", to=[
        {"port": 80, "targetPort": 8000, "nodePort": 30080}, {"port": 70000, "targetPort": 8000}]), "70000"),
    ("NODE_PORT_RANGE", "error", both(MINIKUBE, both(at("service", "spec", "ports", 0, "nodePort", to=8080),
                                                     at("spec", "urls", to={"api": {"service": "api"}}))), "8080"),
    ("NODE_PORT_RANGE", "warning", both(at("service", "spec", "ports", 0, "nodePort", to=8080),
                                        at("spec", "urls", to={"api": {"service": "api"}})), "8080"),
    ("NODE_PORT_TWICE", "error", at("service", "spec", "ports", to=[
        {"port": 80, "targetPort": 8000, "nodePort": 30080}, {"port": 81, "targetPort": 8000, "nodePort": 30080}]),
     "service/api"),
    ("NODE_PORT_TAKEN", "error", at("cluster", to=cluster(services=(foreign_service("grafana", 30080),))),
     "theirs/grafana"),
    ("SERVICE_TYPE", "error", at("service", "spec", to={
        "selector": {"app": "api"}, "ports": [{"port": 80, "targetPort": 8000}]}), "ClusterIP"),
    ("SERVICE_TYPE", "error", at("spec", "urls", "api", "nodePort", to=30081), "30081"),
    ("SERVICE_TYPE", "error", at("spec", "urls", "api", "external", to=True), "NodePort"),
    ("LOAD_BALANCER", "warning", both(both(at("spec", "cluster", to={"addons": ["ingress", "metrics-server"]}),
                                           at("spec", "rules", to=UNENCRYPTED)),
                                      both(at("service", "spec", "type", to="LoadBalancer"),
                                           at("spec", "urls", "api", "external", to=True))), "needs a load balancer"),
    ("SERVICE_EXPOSED", "warning", at("spec", "urls", to={}), "no url of the spec"),
    ("URL_TARGET", "error", at("spec", "urls", "web", to={"service": "web"}), "no chart makes a Service `web`"),
    ("URL_TARGET", "error", at("spec", "cors", to={"web": {"service": "web"}}), "cors `web`: no chart makes"),
    ("URL_TARGET", "error", at("spec", "urls", "web", to={"ingressHost": "a.local"}), "`a.local`"),
    ("INGRESS_BACKEND", "error",
     at("ingress", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "port", "number", to=81), "port 81"),
    ("INGRESS_BACKEND", "error",
     at("ingress", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name", to="apis"), "`apis`"),
    ("INGRESS_CONTROLLER", "warning", both(at("spec", "cluster", to={"addons": ["metrics-server"]}),
                                           at("spec", "rules", to=UNENCRYPTED)), "Ingress controller"),
    ("INGRESS_CLASS", "warning", both(at("ingress", "spec", "ingressClassName", to="trafik"), NGINX),
     "ingress/api names class `trafik`, which the cluster does not have"),
    ("INGRESS_CLASS", "warning", NGINX, "names no class, and the cluster has no default one"),
    ("REPLICAS", "error", at("deployment", "spec", "replicas", to=0), "0 replicas"),
    ("REPLICAS", "error", at("spec", "rules", to={"replicas": {"max": 1}}), "at most 1"),
    ("REPLICAS", "error", at("spec", "rules", to={"replicas": {"exactly": {"api": 3}}}), "3"),
    ("ROLLOUT_SERVICE", "error", at("spec", "rollout", to={"services": {"apy": {"failFast": "patient"}}}), "`apy`"),
    ("UPDATE_GAP", "warning", at("deployment", "spec", "strategy", to={"type": "Recreate"}), "Recreate"),
    ("UPDATE_GAP", "warning", at("deployment", "spec", "strategy", "rollingUpdate", "maxUnavailable", to="100%"),
     "2 of 2"),
    ("WORKLOAD_SELECTOR", "error", at("deployment", "spec", "selector", "matchLabels", to={"app": "b"}), "selector"),
    ("AUTOSCALER_BOUNDS", "error", at("scaler", "spec", "minReplicas", to=4), "maxReplicas"),
    ("AUTOSCALER", "error", both(at("scaler", "spec", "scaleTargetRef", "name", to="nobody"),
                                 at("other", "spec", "replicas", to=1)), "no chart makes"),
    ("AUTOSCALER_METRICS", "warning", both(at("spec", "cluster", to={"addons": ["ingress"]}),
                                           at("spec", "rules", to=UNENCRYPTED)), "metrics-server"),
    ("NETWORK_POLICY_ENFORCED", "warning", both(more(POLICY), at("cluster", to=cluster())), "not enforced here"),
    ("CONFIG_KEY_NAME", "error", at("config", "data", "a.b", to="x"), "`a.b`"),
    ("CONFIG_KEY_INVALID", "error", more(config("files", "a b")), "`a b`"),
    ("CONFIG_KEY_INVALID", "error", more(config("files", "..b")), "`..b`"),
    ("CONFIG_VALUE", "error", at("config", "data", "PORT", to=8000), "is a number, not a string"),
    ("CONFIG_VALUE", "error", secret(stringData={"a": 7}), "secret/s: the value of `a` is a number"),
    ("CONFIG_VALUE", "error", secret(data={"a": "Y"}), "secret/s: the value of `a` is not base64"),
    ("CONFIG_IMMUTABLE", "warning", at("config", "immutable", to=True), "immutable"),
    ("CONFIG_SECRET", "error", at("config", "data", "DB_PASSWORD", to="hunter2"), "`DB_PASSWORD`"),
    ("CONFIG_SECRET", "error", at("config", "data", "DB", to="postgresql://me:pw@db/x"), "`DB`"),
    ("CONFIG_SECRET", "error", at(*BOX, "env", 1, to={"name": "GITHUB_TOKEN", "value": "abc"}), "`GITHUB_TOKEN`"),
    ("SECRET_LEAK", "error", at("deployment", "metadata", "annotations", to={"url": LEAK}), "app-secrets.DATABASE_URL"),
    ("SECRET_IN_CHART", "warning", more(
        {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "YQ=="}}), "secret/s"),
    ("SECRET_TYPE", "error", at("spec", "secrets", "app-secrets", "type", to="mine"), "`mine`"),
    ("ENCRYPTION_AT_REST", "warning", at("spec", "cluster", to={"addons": ["ingress", "metrics-server"]}),
     "unencrypted"),
    ("STORAGE_CLASS", "error", both(both(volume(persistentVolumeClaim={"claimName": "api-data"}),
                                         at("claim", "spec", "accessModes", to=["ReadWriteMany"])), FAST), "`fast`"),
    ("STORAGE_CLASS", "warning", FAST, "`fast`"),
    ("STORAGE_CLASS", "error", NO_DEFAULT, "names no storage class, and the cluster has no default one"),
    ("STORAGE_CLASS", "warning", both(MINIKUBE, NO_DEFAULT), "the cluster has no default one"),
    ("CLAIM_ACCESS", "error", at("claim", "spec", "accessModes", to=["ReadWriteTwice"]), "ReadWriteTwice"),
    ("CLAIM_ACCESS", "warning", volume(persistentVolumeClaim={"claimName": "api-data"}), "up to 3 pods"),
    ("CLAIM_SIZE", "error", at("claim", "spec", "resources", to={}), "is not a size"),
    ("CLAIM_SIZE", "warning", both(at("claim", "spec", "resources", "requests", "storage", to="50Gi"),
                                   at("machine", to=Machine(free_disk_mib=40_000))), "more than"),
    ("QUOTA", "error", at("cluster", to=cluster(quotas=(quota(pods="2"),))), "3 of `pods`, 2 at most"),
    ("LIMIT_RANGE", "error", at("cluster", to=cluster(limit_ranges=(limit_range("Pod", max={"cpu": "150m"}),))),
     "its limit of cpu is 200m, at most 150m is admitted, by LimitRange `bounds` of namespace `default`"),
    ("CAPACITY", "warning", at("cluster", to=cluster(pods=(pod("3700m"),))), "100m of CPU is missing"),
    ("CAPACITY", "error", at("cluster", to=cluster(pods=(pod("3800m"),))), "request 100m of CPU more"),
    ("CAPACITY", "error", at("cluster", to=cluster(nodes=({"memory": Fraction(GIB)},) * 2)), "no node is large enough"),
    ("VOLUME_NODE", "warning", at("cluster", to=cluster(node_classes=frozenset({""}))), "on one node only"),
    ("LIMIT_SHARE", "warning",
     at("cluster", to=cluster(allocatable={"cpu": Fraction(3, 2), "memory": Fraction(8 * GIB)})), "CPU are 120 %"),
    ("LIMIT_SHARE", "error", both(
        at("cluster", to=cluster(allocatable={"cpu": Fraction(3, 2), "memory": Fraction(8 * GIB)})),
        at("spec", "rules", to={"capacity": "strict", "maxLimitShare": 100})), "100 %"),
    ("NAMESPACE", "error", both(at("claim", "metadata", "namespace", to="kube-system"),
                                at("spec", "rules", to={"layout": {"namespaces": "one"}})), "not in `default`"),
    ("NAMESPACE_UNKNOWN", "error", at("claim", "metadata", "namespace", to="nowhere"), "`nowhere`"),
    ("RELEASE_SIZE", "error", at("size", to=2 * 2**20), "2.0 MiB"),
    ("KIND_UNKNOWN", "error", both(more(thing()), at("cluster", to=cluster(kinds=SERVED))), "no kind `Thing` in"),
    ("KIND_UNKNOWN", "error", both(more(thing("apps/v1beta1", "Deployment")), at("cluster", to=cluster(kinds=SERVED))),
     "no kind `Deployment` in `apps/v1beta1`"),
    ("OBJECT_TWICE", "error", more({"kind": "Secret", "metadata": {"name": "app-secrets"}}),
     "`secrets.app-secrets` of the spec"),
    ("VALUE_RENEWED", "warning", at("renewed", to=((ObjectRef("Secret", "default", "db"), "data.password"),)),
     "new `password` at each upgrade"),
    ("COMPONENT_PREFIX", "error", both(at("claim", "metadata", "labels", to={"app": "db"}),
                                       at("spec", "rules", to={"layout": {"names": "component"}})), "db"),
    ("LABELS", "error", both(at("deployment", "metadata", "labels", "tier", to=None),
                             at("spec", "rules", to={"layout": {"labels": ["app", "tier"]}})), "`tier`"),
    ("CHART_VERSION", "error", at("chart", "version", to="1"), "`1` is not X.Y.Z"),
    ("CHART_VERSION", "error", at("chart", "version", to=None), "version"),
    ("CHART_APP_VERSION", "warning", at("chart", "appVersion", to="v1"), "`v1` is not X.Y.Z"),
    ("CHART_MAINTAINERS", "error", at("chart", "maintainers", to=[]), "no maintainers"),
    ("ENV_TRACKED", "error", at("machine", to=found_in_files("ENV_TRACKED")), "the env file"),
    ("ENV_READABLE", "warning", at("machine", to=found_in_files("ENV_READABLE")), "the env file"),
    ("VALUE_REFERENCE", "warning", both(at("spec", "releases", "shop", "values", to={"api": {"url": ["${LEVEL}"]}}),
                                        at("env", "LEVEL", to="x")), "releases.shop.values.api.url.0"),
    ("ENV_LINES", "warning", at("machine", to=found_in_files("ENV_LINES")), "the env file"),
    ("LINE_ENDS", "warning", at("machine", to=found_in_files("LINE_ENDS")), "the env file"),
    ("CONTEXT_SHIPS", "warning", at("machine", to=found_in_files("CONTEXT_SHIPS")), "the env file"),
    ("ENV_IN_CHART", "warning", at("machine", to=found_in_files("ENV_IN_CHART")), "the env file"),
    ("ENV_IN_CONTEXT", "error", at("machine", to=Machine(env_leaks={
        "api": (Leak("conf/.env.local", "its name"),)})), "`conf/.env.local`"),
    ("PUBLIC_URL", "warning", at("args", "VITE_API_URL", to="http://api:80"), "browsers do not know"),
    ("PUBLIC_URL", "warning", at("args", "NEXT_PUBLIC_API", to="http://localhost:8000"), "no address that is served"),
    ("PUBLIC_URL", "warning", at("machine", to=Machine(declared={
        "api": (("VITE_API_URL", "http://localhost:8000", "api/Dockerfile:4"),)})), "no address that is served"),
    ("CONTEXT_SIZE", "note", at("machine", to=Machine(contexts={"api": (3 * 2**20, (("data/big", 2**20),))})),
     "3.0 MiB"),
    ("CONTEXT_SIZE", "warning", at("machine", to=Machine(contexts={"api": (300 * 2**20, (("data", 2**20),))})),
     "300.0 MiB"),
    ("DISK_FREE", "error", at("cluster", to=cluster(free_disk_mib=7)), "7 MiB of disk are free inside the cluster"),
    ("DISK_FREE", "error", both(at("claim", "spec", "resources", "requests", "storage", to="50Mi"),
                                at("machine", to=Machine(free_disk_mib=100))), "100 MiB"),
]  # fmt: skip

GOOD: dict[str, Change] = {
    "as it is": lambda parts: None,
    "a policy for a cluster that is not there yet": both(more(POLICY), at("cluster", to=cluster(estimated=True))),
    "a policy for a plugin that enforces it": both(more(POLICY), at("cluster", to=cluster(pods=(CALICO,)))),
    "a policy for what an addon will enforce": both(
        both(more(POLICY), at("cluster", to=cluster())),
        both(
            at("spec", "cluster", to={"addons": ["ingress", "metrics-server", "network-policies"]}),
            at("spec", "rules", to=UNENCRYPTED),
        ),
    ),
    "the IngressClass of the addon, which is not there yet": both(
        MINIKUBE,
        both(
            at("ingress", "spec", "ingressClassName", to="nginx"),
            at("cluster", to=cluster(ingress_classes=frozenset())),
        ),
    ),
    "an IngressClass that the cluster has": both(at("ingress", "spec", "ingressClassName", to="nginx"), NGINX),
    "an Ingress without a class where one is the default": at(
        "cluster", to=cluster(ingress_classes=frozenset({"nginx", ""}))
    ),
    "an Ingress for controllers that know no IngressClass": both(
        at("ingress", "metadata", "annotations", to={"kubernetes.io/ingress.class": "old"}), NGINX
    ),
    "an IngressClass that a chart makes": both(
        NGINX,
        both(
            at("ingress", "spec", "ingressClassName", to="own"),
            more({"kind": "IngressClass", "metadata": {"name": "own"}, "spec": {"controller": "example.com/own"}}),
        ),
    ),
    "a service that is judged otherwise": at("spec", "rollout", to={"services": {"api": {"timeout": "10m"}}}),
    "a volume that no container mounts": at(*POD, "volumes", to=[{"name": "v", "secret": {"secretName": "gone"}}]),
    "an optional reference": volume(secret={"secretName": "gone", "optional": True}),
    "a reference to what the cluster has": both(
        volume(secret={"secretName": "theirs"}),
        at("cluster", to=cluster(keys={ObjectRef("Secret", "default", "theirs"): frozenset()})),
    ),
    "a reference to the immutable copy": volume(secret={"secretName": "app-secrets-12345678"}),
    "an image behind a registry": at(*BOX, "image", to="registry.local:5000/shop-api:1.0.0-0123456789ab"),
    "a foreign image by its digest": at(
        *POD, "initContainers", to=[{"name": "i", "image": "busybox@sha256:" + "0" * 64}]
    ),
    "a variable that says yes or no": at(*BOX, "env", 1, to={"name": "ALLOW_EMPTY_PASSWORD", "value": "yes"}),
    "a selector that an old version of the API fills in": both(
        at("deployment", "spec", "selector", to=None), at("deployment", "apiVersion", to="extensions/v1beta1")
    ),
    "a target port that Kubernetes fills in": more(
        {
            "kind": "Service",
            "metadata": {"name": "f"},
            "spec": {"selector": {"app": "api"}, "ports": [{"port": 8000, "targetPort": 0}]},
        }
    ),
    "a Service of another API": more(
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "f"},
            "spec": {"selector": {"app": "none"}, "ports": [{"port": "x"}]},
        }
    ),
    "a request in another unit": at(*BOX, "resources", "requests", "memory", to="128000Ki"),
    "a numeric user in the Dockerfile": both(
        at(*POD, "securityContext", to={"runAsNonRoot": True}), at("machine", to=Machine(image_users={"api": "1001:0"}))
    ),
    "a named target port": at("service", "spec", "ports", 0, "targetPort", to="http"),
    "our own Service has the NodePort already": at(
        "cluster",
        to=cluster(services=(foreign_service("old", 30080),), ours=frozenset({ObjectRef("Service", "theirs", "old")})),
    ),
    "keys of a ConfigMap that no container takes as variables": more(config("files", "application.yml", "shop.json")),
    "a number of pods that an autoscaler sets": at("spec", "rules", to={"replicas": {"min": 2}}),
    "a secret in the env files that nothing resembles": at("env", "EDITOR", to="vi"),
    "a setting that only names a secret": at("config", "data", "SECRET_NAME", to="app-secrets"),
    "a public URL that is served": at("args", "VITE_API_URL", to="http://localhost:30080"),
    "a public URL of an Ingress": both(
        at("args", "VITE_API_URL", to="http://shop.local/api"),
        at("spec", "urls", "web", to={"ingressHost": "shop.local"}),
    ),
    "a number whose name is like a secret's": at("config", "data", "MAX_TOKENS", to="1000"),
    "a password that Kubernetes fills in": at(*BOX, "env", 1, to={"name": "URL", "value": "pg://u:$(PW)@db/x"}),
    "a private build argument": at("args", "PIP_INDEX_URL", to="http://api:80"),
    "our own old pods": at("cluster", to=cluster(pods=(pod("3900m", owner="api"),))),
    "pods that are over": at("cluster", to=cluster(pods=(pod("3900m", phase="Succeeded"),))),
    "an image for the node": at("cluster", to=cluster(image_architectures={"python:3.11": "amd64"})),
}


GONE = at(*BOX, "env", 0, "valueFrom", "secretKeyRef", "name", to="gone")
KEY = at(*BOX, "env", 0, "valueFrom", "secretKeyRef", to={"name": "filled", "key": "token"})
ROLE = {"kind": "Role", "metadata": {"name": "certs"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"]}]}  # fmt: skip
CUSTOM = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "web"}, "spec": {}}
EMPTY = {"kind": "Secret", "metadata": {"name": "filled"}, "data": {}}
CRON = {"kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {"jobTemplate": {"spec": JOB["spec"]}}}

# What by hand works or may work: advice, in a strict spec too.
DOUBTFUL: dict[str, tuple[str, Change]] = {
    "a Secret that a Job with this role may make": ("REFERENCE_MISSING", both(GONE, more(ROLE))),
    "a Secret that a controller may make": ("REFERENCE_MISSING", both(GONE, more(CUSTOM))),
    "a key that a webhook fills in": ("REFERENCE_KEY_MISSING", both(KEY, more(EMPTY))),
    "a Secret of a certificate": ("REFERENCE_MISSING", both(
        GONE, at("ingress", "spec", "tls", to=[{"hosts": ["shop.local"], "secretName": "gone"}]))),
    "a Secret of pods that run at night": ("REFERENCE_MISSING", more(CRON)),
    "a Secret of a hook that does not run now": ("REFERENCE_MISSING", more(
        {**JOB, "metadata": {"name": "bye", "annotations": {"helm.sh/hook": "pre-delete"}}})),
    "a Secret of a suspended Job": ("REFERENCE_MISSING", more(
        {**JOB, "metadata": {"name": "later"}, "spec": {**JOB["spec"], "suspend": True}})),
    "a Secret that a role of the cluster lets a Job make": ("REFERENCE_MISSING", both(GONE, more(
        {"kind": "RoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "edit"}}))),
    "a Secret of a paused Deployment": ("REFERENCE_MISSING", both(GONE, at("deployment", "spec", "paused", to=True))),
    "a Secret of a Job of no pods": ("REFERENCE_MISSING", more(
        {**JOB, "metadata": {"name": "later"}, "spec": {**JOB["spec"], "parallelism": 0}})),
    "what is wrong with a hook before the removal": ("NAMESPACE_UNKNOWN", more(
        config("bye", "a", namespace="gone", annotations={"helm.sh/hook": "pre-delete"}))),
    "pods that take the place of others": ("CAPACITY", both(
        at(*POD, "priorityClassName", to="high"), at("cluster", to=cluster(pods=(pod("3800m"),))))),
    "a Secret in a cluster that is stopped": ("REFERENCE_MISSING", both(GONE, at("cluster", to=cluster(unseen=True)))),
    "a Secret in a cluster that nobody sees": ("REFERENCE_MISSING", both(
        GONE, lambda parts: parts.update(cluster=None))),
    "a namespace in a cluster that does not run": ("NAMESPACE_UNKNOWN", both(
        at("claim", "metadata", "namespace", to="monitoring"), at("cluster", to=cluster(unseen=True)))),
    "a Service that a controller makes": ("URL_TARGET", both(
        at("spec", "urls", "web", to={"service": "web"}), more(CUSTOM))),
}  # fmt: skip


@pytest.mark.parametrize(
    ("role", "namespace", "severity"),
    [("edit", "default", "warning"), ("view", "default", "error"), ("system:auth-delegator", "default", "error"),
     ("edit", "elsewhere", "error")],
)  # fmt: skip
def test_only_a_role_that_writes_there_may_make_a_secret(role: str, namespace: str, severity: str) -> None:
    binding = {"kind": "RoleBinding", "metadata": {"name": "b", "namespace": namespace},
               "roleRef": {"kind": "ClusterRole", "name": role}}  # fmt: skip
    spaces = at("cluster", to=cluster(namespaces=frozenset({"elsewhere"})))
    found = judge(subject(both(both(GONE, more(binding)), spaces)))
    assert [one.severity for one in found if one.rule == "REFERENCE_MISSING"] == [severity]


@pytest.mark.parametrize(("rule", "change"), DOUBTFUL.values(), ids=list(DOUBTFUL))
def test_what_may_work_is_not_refused(rule: str, change: Change) -> None:
    assert (rule, "warning") in {(one.rule, one.severity) for one in judge(subject(strict(change)))}
    assert [one.problem for one in judge(subject(change)) if one.severity == "error"] == []


def other_service(**spec: Any) -> Change:
    return more({"kind": "Service", "metadata": {"name": "other"}, "spec": spec})


WORKER = {**deployment(), "metadata": {"name": "worker", "labels": {"app": "api"}}}
WORKER = {
    **WORKER,
    "spec": {
        **WORKER["spec"],
        "template": {
            **WORKER["spec"]["template"],
            "spec": {
                "containers": [
                    {"name": "worker", "image": "shop-api:1.0.0-0123456789ab", "ports": [{"containerPort": 9}]}
                ]
            },
        },
    },
}
RUNS: dict[str, Change] = {
    "the certificate of the API server": volume(projected={"sources": [
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca"}]}}]}),
    "a token that Kubernetes fills in": both(KEY, more({**EMPTY, "type": "kubernetes.io/service-account-token"})),
    "a key that somebody added in the cluster": both(both(KEY, more({**EMPTY, "data": {"other": "YQ=="}})), at(
        "cluster", to=cluster(keys={ObjectRef("Secret", "default", "filled"): frozenset({"token"})}))),
    "no pods for now": at("deployment", "spec", "replicas", to=0),
    "a namespace that every cluster has": at("claim", "metadata", "namespace", to="kube-public"),
    "a namespace of the cluster": both(at("claim", "metadata", "namespace", to="monitoring"),
                                       at("cluster", to=cluster(namespaces=frozenset({"monitoring"})))),
    "a namespace named by what has none": more({"kind": "ClusterRole", "metadata": {"name": "r", "namespace": "gone"}}),
    "a namespace named by what an addon serves for the whole cluster": both(
        more({**thing(), "metadata": {"name": "t", "namespace": "gone"}}),
        at("cluster", to=cluster(unspaced=frozenset({("example.com/v1", "Thing")})))),
    "a DaemonSet for nodes that there are none of": more({
        "kind": "DaemonSet", "metadata": {"name": "gpu"}, "spec": {
            "selector": {"matchLabels": {"app": "gpu"}}, "template": {"metadata": {"labels": {"app": "gpu"}}, "spec": {
                "nodeSelector": {"gpu": "yes"}, "containers": [
                    {"name": "gpu", "image": "a/b:1.0.0", "resources": {"requests": {"cpu": "64"}}}]}}}}),
    "a Service of another address": other_service(type="ExternalName", externalName="db.example.com"),
    "a Service with endpoints made by hand": other_service(ports=[{"port": 5432}]),
    "a worker that shares a Service's labels": more(WORKER),
    "another maker's image with our name": at(*POD, "initContainers", to=[
        {"name": "i", "image": "ghcr.io/acme/shop-api:2.1.0", "imagePullPolicy": "Always"}]),
    "one NodePort for TCP and UDP": at("service", "spec", "ports", to=[
        {"name": "a", "port": 80, "targetPort": 8000, "nodePort": 30080},
        {"name": "b", "port": 80, "targetPort": 8000, "nodePort": 30080, "protocol": "UDP"}]),
    "a storage class that a chart makes": both(more({"kind": "StorageClass", "metadata": {"name": "fast"}}), FAST),
    "the default class that a chart makes": both(NO_DEFAULT, more({"kind": "StorageClass", "metadata": {
        "name": "own", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}})),
    "a volume without a class that a chart makes": both(NO_DEFAULT, more(
        {"kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {}})),
    "no class at all, for a volume made by hand": both(NO_DEFAULT, at("claim", "spec", "storageClassName", to="")),
    "a volume made by hand, by its name": both(NO_DEFAULT, at("claim", "spec", "volumeName", to="v")),
    "a class that an old chart names in an annotation": both(NO_DEFAULT, at(
        "claim", "metadata", "annotations", to={"volume.beta.kubernetes.io/storage-class": "slow"})),
    "the class of a volume made by hand": both(more(
        {"kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"storageClassName": "fast"}}), FAST),
    "ConfigMaps of dashboards and Spring": more(config("files", "shop.json", "application-prod.yml")),
    "an Ingress to a Service of the cluster": both(
        at("ingress", "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name", to="grafana"),
        at("cluster", to=cluster(services=({"metadata": {"name": "grafana", "namespace": "default"}},)))),
    "a chart version that Helm takes": at("chart", "version", to="1.2"),
    "no maintainers, limits, probes, security": both(at("chart", "maintainers", to=[]), at(*BOX, to={
        "name": "api", "image": "shop-api:1.0.0-0123456789ab", "ports": [{"containerPort": 8000, "name": "http"}]})),
}  # fmt: skip


@pytest.mark.parametrize("change", RUNS.values(), ids=list(RUNS))
def test_what_works_by_hand_is_not_refused(change: Change) -> None:
    found = judge(subject(change))
    assert [one.problem for one in found if one.severity == "error"] == []
    assert "RULE_SKIPPED" not in {one.rule for one in found}
    seen = {one.rule for one in found}
    assert seen.isdisjoint({"REFERENCE_MISSING", "REFERENCE_KEY_MISSING", "NAMESPACE_UNKNOWN", "STORAGE_CLASS",
                            "NODE_PORT_TWICE", "SERVICE_SELECTOR", "SERVICE_TARGET_PORT", "INGRESS_BACKEND",
                            "CONFIG_KEY_NAME", "TAG_NOT_BUILT", "PULL_ALWAYS", "REPLICAS"})  # fmt: skip


def test_a_good_application_breaks_no_rule() -> None:
    assert [one.problem for one in judge(subject())] == []


@pytest.mark.parametrize("change", GOOD.values(), ids=list(GOOD))
def test_what_is_right_is_not_found(change: Change) -> None:
    assert [one.problem for one in judge(subject(strict(change)))] == []


@pytest.mark.parametrize(("rule", "severity", "change", "fact"), BAD, ids=[f"{one[0]}-{one[3]}" for one in BAD])
def test_what_is_wrong_is_found_by_its_rule_alone(rule: str, severity: str, change: Change, fact: str) -> None:
    found = judge(subject(strict(change)))
    assert {(one.rule, one.severity) for one in found} == {(rule, severity)}, [one.problem for one in found]
    assert fact in found[0].problem.title
    assert found[0].problem.code == rule
    assert found[0].problem.where and found[0].problem.hints


POLICY_CASES = [one for one in BAD if TIERS[one[0]] == "policy"]


@pytest.mark.parametrize("case", POLICY_CASES, ids=lambda one: f"{one[0]}-{one[3]}")
def test_a_policy_is_advice_unless_the_spec_is_strict(case: tuple[str, str, Change, str]) -> None:
    rule, _, change, _ = case
    asked = rule != "REPLICAS" or "replicas" in subject(change).loaded.document.get("rules", {})
    assert [(one.rule, one.severity) for one in judge(subject(change))] == ([(rule, "warning")] if asked else [])


def test_an_object_that_two_make_is_an_error_at_both_lines() -> None:
    def lines(change: Change) -> list[str]:
        return [one.problem.where for one in judge(subject(change)) if one.rule == "OBJECT_TWICE"]

    both_lines = lines(more({"kind": "Secret", "metadata": {"name": "app-secrets"}}))
    assert len(set(both_lines)) == 2
    hook = {"name": "app-secrets", "annotations": {"helm.sh/hook": "pre-install"}}
    assert lines(more({"kind": "Secret", "metadata": hook})) == []


def test_a_kind_that_helm_or_an_earlier_release_defines_is_there() -> None:
    made = subject(both(more(thing()), at("cluster", to=cluster(kinds=SERVED))))
    (one,) = made.releases

    def rules(changed: Rendered, *others: Rendered) -> list[str]:
        found = judge(replace(made, releases=(changed, *others)))
        return [f"{one.rule} {one.severity}" for one in found if one.rule == "KIND_UNKNOWN"]

    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things"},
        "spec": {"group": "example.com", "names": {"kind": "Thing"}, "versions": [{"name": "v1"}]},
    }  # fmt: skip
    operator = Rendered(replace(one.release, name="operator"), (definition,))
    needing = replace(one, release=replace(one.release, needs=("operator",)))
    assert rules(one) == ["KIND_UNKNOWN error"]
    assert rules(replace(one, brings=frozenset({("example.com/v1", "Thing")}))) == []
    withheld = replace(one, withheld=frozenset({("example.com/v1", "Thing")}))
    (refused,) = [found for found in judge(replace(made, releases=(withheld,))) if found.rule == "KIND_UNKNOWN"]
    assert "helm show crds" in refused.problem.hints[0]
    assert rules(needing, operator) == []
    assert rules(one, operator) == ["KIND_UNKNOWN warning"]


def test_what_a_chart_defines_may_be_of_the_whole_cluster() -> None:
    made = subject(more({**thing(), "metadata": {"name": "t", "namespace": "gone"}}))
    (one,) = made.releases
    assert [found.rule for found in judge(made)] == ["NAMESPACE_UNKNOWN"]
    defining = replace(one, brings=frozenset({("example.com/v1", "Thing")}))
    assert not judge(replace(made, releases=(defining,)))
    assert made.cluster is not None
    seen = replace(made.cluster, kinds=defining.brings)  # and not among those of the whole cluster
    assert [found.rule for found in judge(replace(made, releases=(defining,), cluster=seen))] == ["NAMESPACE_UNKNOWN"]


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in RULES} == {one[0] for one in BAD}


def test_rules_have_unique_names_sources_and_a_sentence() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.name.replace("_", "").isalnum() and rule.name.isupper()
        assert rule.source and rule.sentence.endswith(".")


def test_latest_is_found_whatever_else_is_wrong_with_it() -> None:
    found = judge(subject(at(*BOX, "image", to="shop-api:latest")))
    assert [one.rule for one in found] == ["TAG_LATEST"]
    assert "releases.shop.images.api" in found[0].problem.hints[0]


def test_the_nearest_line_of_the_env_file_is_named() -> None:
    change = both(
        at(*BOX, "env", 0, "valueFrom", "secretKeyRef", "key", to="OPENAI_API_KEY"), at("env", "OPENAI_APIKEY", to="x")
    )
    problem = judge(subject(change))[0].problem
    assert problem.title.startswith("deployment/api needs OPENAI_API_KEY (secret app-secrets)")
    assert problem.hints == (".env:2 has `OPENAI_APIKEY`: did you mean `OPENAI_API_KEY`?",)


def test_an_autoscaler_without_a_workload_or_requests_is_found() -> None:
    change = at("scaler", "spec", "scaleTargetRef", "name", to="nobody")
    found = judge(subject(both(change, at("other", "spec", "replicas", to=1))))
    assert "no chart makes" in found[0].problem.title
    bare = at("other", "spec", "template", "spec", "containers", 0, "resources", to={})
    assert "AUTOSCALER" in [one.rule for one in judge(subject(bare))]


def test_no_value_of_a_secret_is_shown() -> None:
    found = judge(subject(at("config", "data", "OTHER", to=f"see {LEAK}")))
    assert [one.rule for one in found] == ["CONFIG_SECRET", "SECRET_LEAK"]
    assert LEAK not in repr(found)


def test_nothing_is_concluded_from_charts_that_were_not_rendered() -> None:
    assert judge(replace(subject(), releases=())) == ()


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place within the value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*at, key)
        yield from paths(item, (*at, key))


PATHS = [path for path in paths(good_objects()) if len(path) > 1]


def changed(path: tuple[Any, ...], to: Any) -> list[str]:
    def change(parts: dict[str, Any]) -> None:
        place: Any = parts
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        parts.update({name: without_nulls(parts[name]) for name in good_objects()})

    return [one.rule for one in judge(subject(change))]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_a_null_is_as_good_as_nothing(path: tuple[Any, ...]) -> None:
    assert "RULE_SKIPPED" not in changed(path, None)


def test_a_key_of_data_without_a_value_is_an_empty_text() -> None:
    made = as_taken({"kind": "Secret", "data": {"a": None}, "stringData": {"b": None, "c": "x"}, "type": None})
    assert made == {"kind": "Secret", "data": {"a": ""}, "stringData": {"b": "", "c": "x"}}
    assert as_taken({"kind": "Thing", "data": {"a": None}}) == {"kind": "Thing", "data": {}}


def test_an_object_of_another_shape_ends_one_rule_and_no_run() -> None:
    for path in PATHS:
        for other in ({}, [], "text", 7):
            changed(path, other)
    assert "RULE_SKIPPED" in changed(("service", "spec", "ports", 0, "nodePort"), "text")


@pytest.mark.parametrize("rule", RULES, ids=lambda one: one.name)
def test_no_rule_looks_at_all_workloads_for_each_config_map(rule: model.Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    look = model.workload_of

    def counted(*given: Any) -> model.Workload | None:
        looks.append(None)
        return look(*given)

    monkeypatch.setattr(model, "workload_of", counted)
    made = subject()
    (release,) = made.releases

    def of(count: int) -> int:
        objects = (*release.objects, *(config(f"c{number}", "A_KEY") for number in range(count)))
        looks.clear()
        list(rule.check(replace(made, releases=(replace(release, objects=objects),))))
        return len(looks)

    assert of(400) <= 10 * of(40)
