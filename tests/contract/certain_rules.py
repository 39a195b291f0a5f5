"""What each rule of the tier `certain` refuses, as an object that the real cluster refuses too, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deployer.core.ports import Object

OWN = {
    "ENV_IN_CONTEXT": "a secret would be in an image, which neither Docker nor Kubernetes knows",
    "RELEASE_SIZE": "it is about the Secret in which helm stores a release, not about an object of the chart",
    "ROLLOUT_SERVICE": "it is about rollout.services of the spec",
    "SERVICE_TYPE": "it is about urls of the spec, which nothing could ask",
    "URL_TARGET": "it is about urls and cors of the spec",
    "VALUE_UNUSED": "it is about what releases.*.images and secrets of the spec map",
}
"""Rules about the spec itself: no server ever sees what they refuse."""

PAUSE = "registry.k8s.io/pause:3.10.1"
BUILT = "shop-api:1.0.0-0123456789ab"
"""The image that the rules take for one of the spec's own."""
MISLED = "acme/shop-api:1.0.0-0123456789ab"
UNREACHABLE = "registry.invalid/probe:1.0.0"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A certain rule, what breaks it, who refuses the last of these objects, and a part of the words for it.

    `server`: the API server. `helm`: each object is a release of its own. `node`: the API server takes all of them,
    and the scheduler, a controller or the kubelet says in an event or a container's state what never gets ready.
    """

    rule: str
    objects: tuple[Object, ...]
    words: str
    by: Literal["server", "helm", "node"] = "server"
    before: tuple[Object, ...] = ()
    """What is in the cluster already."""


def refused(rule: str, words: str, *objects: Object, before: Sequence[Object] = ()) -> Refusal:
    """The API server refuses the last of the objects."""
    return Refusal(rule, objects, words, before=tuple(before))


def never_works(rule: str, words: str, *objects: Object, before: Sequence[Object] = ()) -> Refusal:
    """The API server takes them, and the pods never get ready."""
    return Refusal(rule, objects, words, "node", tuple(before))


def named(kind: str, api: str = "v1", name: str = "probe", **rest: Any) -> Object:
    """An object with this name."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **rest}


def service(*ports: Object, name: str = "probe", kind: str = "NodePort") -> Object:
    """A Service with these ports."""
    return named("Service", name=name, spec={"type": kind, "selector": {"app": "probe"}, "ports": list(ports)})


def deployment(box: Object | None = None, pod: Object | None = None, labels: str = "probe") -> Object:
    """A Deployment of one pod with one container."""
    container = {"name": "probe", "image": PAUSE, **(box or {})}
    return named("Deployment", "apps/v1", spec={
        "replicas": 1, "selector": {"matchLabels": {"app": "probe"}},
        "template": {"metadata": {"labels": {"app": labels}}, "spec": {
            "terminationGracePeriodSeconds": 0, "containers": [container], **(pod or {})}},
    })  # fmt: skip


def quota(**hard: str) -> Object:
    """A ResourceQuota; `_` in a name stands for `.`."""
    return named("ResourceQuota", spec={"hard": {key.replace("_", "."): amount for key, amount in hard.items()}})


def limit_range(kind: str, **bounds: Object) -> Object:
    """A LimitRange for things of the kind."""
    return named("LimitRange", spec={"limits": [{"type": kind, **bounds}]})


def claim(**spec: Any) -> Object:
    """A volume claim of 1Mi that one node may write."""
    return named("PersistentVolumeClaim", spec={
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, **spec})  # fmt: skip


def env(**source: Object) -> Object:
    """A container with one variable from elsewhere."""
    return {"env": [{"name": "X", "valueFrom": source}]}


def mounting(**source: Object) -> Object:
    """A Deployment whose container mounts one volume."""
    box = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    return deployment(box, {"volumes": [{"name": "v", **source}]})


CONFIG = named("ConfigMap", data={"A": "1"})
BOUNDS = limit_range("Container", max={"cpu": "100m"})
SCALED = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "probe"}}

TABLE = (
    refused("AUTOSCALER_BOUNDS", "must be greater than or equal to", deployment(),
            named("HorizontalPodAutoscaler", "autoscaling/v2", spec={**SCALED, "minReplicas": 3, "maxReplicas": 2})),
    never_works("CAPACITY", "Insufficient cpu", deployment({"resources": {"requests": {"cpu": "900"}}})),
    never_works("CAPACITY", "Insufficient memory", deployment({"resources": {"requests": {"memory": "900Ti"}}})),
    refused("CLAIM_ACCESS", "supported values", claim(accessModes=["ReadWriteTwice"])),
    refused("CLAIM_ACCESS", "at least 1 access mode is required", claim(accessModes=[])),
    refused("CLAIM_SIZE", "Required value", claim(resources={})),
    refused("CLAIM_SIZE", "must be greater than zero", claim(resources={"requests": {"storage": "0"}})),
    refused("CLAIM_SIZE", "quantities must match", claim(resources={"requests": {"storage": "1 Gi"}})),
    refused("CONFIG_KEY_INVALID", "a valid config key", named("ConfigMap", data={"a b": "x"})),
    refused("CONFIG_KEY_INVALID", "a valid config key", named("ConfigMap", data={"conf/app.yml": "x"})),
    refused("CONFIG_KEY_INVALID", "must not", named("ConfigMap", data={"..": "x"})),
    refused("CONFIG_KEY_INVALID", "a valid config key", named("Secret", stringData={"a:b": "x"})),
    refused("CONFIG_KEY_INVALID", "must be no more than 253", named("ConfigMap", data={"a" * 254: "x"})),
    refused("CONFIG_VALUE", "cannot unmarshal number", named("ConfigMap", data={"PORT": 8080})),
    refused("CONFIG_VALUE", "cannot unmarshal bool", named("ConfigMap", data={"DEBUG": True})),
    refused("CONFIG_VALUE", "cannot unmarshal object", named("ConfigMap", data={"app.json": {"a": "b"}})),
    refused("CONFIG_VALUE", "illegal base64", named("Secret", data={"token": "plain text"})),
    refused("CONFIG_VALUE", "cannot unmarshal number", named("Secret", stringData={"port": 5432})),
    never_works("LIMIT_RANGE", "maximum cpu usage per Container is 100m",
                deployment({"resources": {"limits": {"cpu": "200m"}}}), before=[BOUNDS]),
    never_works("LIMIT_RANGE", "minimum memory usage per Pod is 64Mi",
                deployment({"resources": {"requests": {"memory": "32Mi"}}}),
                before=[limit_range("Pod", min={"memory": "64Mi"})]),
    never_works("LIMIT_RANGE", "memory max limit to request ratio per Container is 2",
                deployment({"resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "128Mi"}}}),
                before=[limit_range("Container", maxLimitRequestRatio={"memory": "2"})]),
    refused("LIMIT_RANGE", "minimum storage usage per PersistentVolumeClaim is 1Gi", claim(),
            before=[limit_range("PersistentVolumeClaim", min={"storage": "1Gi"})]),
    refused("NAMESPACE_UNKNOWN", "namespaces \"nowhere-at-all\" not found",
            {**CONFIG, "metadata": {"name": "probe", "namespace": "nowhere-at-all"}}),
    refused("NODE_PORT_RANGE", "not in the valid range", service({"port": 80, "nodePort": 8080})),
    refused("NODE_PORT_TAKEN", "provided port is already allocated", service({"port": 80, "nodePort": 31987}),
            before=[service({"port": 80, "nodePort": 31987}, name="other")]),
    refused("NODE_PORT_TWICE", "provided port is already allocated", service({"port": 80, "nodePort": 31988}),
            service({"port": 80, "nodePort": 31988}, name="other")),
    refused("NODE_PORT_TWICE", "provided port is already allocated", service(
        {"name": "a", "port": 80, "nodePort": 31989}, {"name": "b", "port": 81, "nodePort": 31989})),
    refused("PORT_NUMBER", "must be between 1 and 65535", service({"port": 70000})),
    refused("PORT_NUMBER", "cannot unmarshal string", service({"port": "80"})),
    refused("PORT_NUMBER", "must contain at least one letter", service({"port": 80, "targetPort": "8080"})),
    refused("PORT_NUMBER", "containerPort: Required value", deployment({"ports": [{"containerPort": 0}]})),
    refused("PORT_NUMBER", "must be between 1 and 65535", deployment({"ports": [{"containerPort": 65536}]})),
    refused("PORT_NUMBER", "cannot unmarshal string", deployment({"ports": [{"containerPort": "8080"}]})),
    never_works("IMAGE_NAME", "InvalidImageName", deployment({"image": "shop-api:"})),
    never_works("IMAGE_NAME", "InvalidImageName", deployment({"image": "shop-api:1.0.0:1.0.0"})),
    never_works("IMAGE_NAME", "InvalidImageName", deployment({"image": "Shop/API:1.0.0"})),
    never_works("IMAGE_NOT_BUILT", "ErrImagePull", deployment({"image": MISLED})),
    never_works("IMAGE_UNREACHABLE", "ErrImagePull", deployment({"image": UNREACHABLE})),
    Refusal("KIND_UNKNOWN", (named("Thing", "probe.example.com/v1"),), "no matches for kind", "helm"),
    Refusal("KIND_UNKNOWN", (named("Ingress", "extensions/v1beta1"),), "no matches for kind", "helm"),
    Refusal("OBJECT_TWICE", (CONFIG, CONFIG), "cannot be imported into the current release", "helm"),
    never_works("PROBE_PORT", "probe errored and resulted in unknown state", deployment(
        {"readinessProbe": {"httpGet": {"port": "web"}, "periodSeconds": 1}})),
    never_works("PROBE_PORT", "probe errored and resulted in unknown state", deployment(
        {"startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1}})),
    never_works("PULL_ALWAYS", "ErrImagePull", deployment({"image": BUILT, "imagePullPolicy": "Always"})),
    refused("QUANTITY_INVALID", "quantities must match", deployment({"resources": {"limits": {"memory": "1 GB"}}})),
    never_works("QUOTA", "exceeded quota: probe, requested: limits.memory=2Gi",
                deployment({"resources": {"limits": {"cpu": "100m", "memory": "2Gi"}}}),
                before=[quota(limits_memory="1Gi")]),
    never_works("QUOTA", "exceeded quota: probe, requested: pods=1", deployment(), before=[quota(pods="0")]),
    never_works("QUOTA", "must specify limits.cpu", deployment({"resources": {"requests": {"cpu": "10m"}}}),
                before=[quota(limits_cpu="1")]),
    refused("QUOTA", "exceeded quota: probe, requested: services.nodeports=1", service({"port": 80}),
            before=[quota(services_nodeports="0")]),
    refused("QUOTA", "exceeded quota: probe, requested: requests.storage=1Mi", claim(),
            before=[quota(requests_storage="1Ki")]),
    never_works("REFERENCE_KEY_MISSING", "couldn't find key B in ConfigMap", CONFIG,
                deployment(env(configMapKeyRef={"name": "probe", "key": "B"}))),
    never_works("REFERENCE_KEY_MISSING", "references non-existent config key: B", CONFIG,
                mounting(configMap={"name": "probe", "items": [{"key": "B", "path": "b"}]})),
    never_works("REFERENCE_MISSING", "secret \"absent\" not found",
                deployment(env(secretKeyRef={"name": "absent", "key": "B"}))),
    never_works("REFERENCE_MISSING", "configmap \"absent\" not found",
                deployment({"envFrom": [{"configMapRef": {"name": "absent"}}]})),
    never_works("REFERENCE_MISSING", "secret \"absent\" not found",
                mounting(secret={"secretName": "absent"})),
    refused("REQUEST_ABOVE_LIMIT", "must be less than or equal to cpu limit",
            deployment({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "100m"}}})),
    never_works("STORAGE_CLASS", "\"absent\" not found", claim(storageClassName="absent"),
                mounting(persistentVolumeClaim={"claimName": "probe"})),
    never_works("USER_NOT_NUMERIC", "container has runAsNonRoot and image", deployment(
        {"image": BUILT, "imagePullPolicy": "Never", "securityContext": {"runAsNonRoot": True}})),
    refused("WORKLOAD_SELECTOR", "does not match template `labels`", deployment(labels="another")),
    refused("WORKLOAD_SELECTOR", "Required value", named("StatefulSet", "apps/v1", spec={
        "serviceName": "probe", "template": {"metadata": {"labels": {"app": "probe"}},
                                             "spec": {"containers": [{"name": "probe", "image": PAUSE}]}}})),
)  # fmt: skip
