"""Kubernetes objects that others wrote: a field of another type than the API gives it is taken for missing.

What looks at objects (status, diagnosis) then needs to know only that any field may be missing. The types are
those of the Kubernetes API reference, as far as something here reads them; what is not listed stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXTS = {"*": str}
_AMOUNT = (int, float, str)
_PORT = (int, str)
_SELECTOR = {"matchLabels": _TEXTS, "matchExpressions": [{"key": str, "operator": str, "values": [str]}]}
_CONDITION = {"type": str, "status": str, "reason": str, "message": str, "lastTransitionTime": str}
_REFERENCE = {"kind": str, "name": str, "namespace": str, "uid": str, "controller": bool, "fieldPath": str}

_METADATA = {
    "name": str, "generateName": str, "namespace": str, "uid": str, "resourceVersion": str, "generation": int,
    "creationTimestamp": str, "deletionTimestamp": str, "labels": _TEXTS, "annotations": _TEXTS,
    "ownerReferences": [_REFERENCE], "finalizers": [str],
}  # fmt: skip

_NAMED = {"name": str, "key": str, "optional": bool}
_SOURCE = {
    "configMapKeyRef": _NAMED, "secretKeyRef": _NAMED, "fieldRef": {"fieldPath": str},
    "resourceFieldRef": {"resource": str},
}  # fmt: skip
_HANDLER = {
    "httpGet": {"path": str, "port": _PORT, "scheme": str, "host": str,
                "httpHeaders": [{"name": str, "value": str}]},
    "tcpSocket": {"port": _PORT, "host": str}, "grpc": {"port": int, "service": str}, "exec": {"command": [str]},
    "initialDelaySeconds": int, "periodSeconds": int, "timeoutSeconds": int, "failureThreshold": int,
    "successThreshold": int, "terminationGracePeriodSeconds": int,
}  # fmt: skip
_SECURITY = {
    "runAsUser": int, "runAsGroup": int, "fsGroup": int, "runAsNonRoot": bool, "privileged": bool,
    "allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool,
    "capabilities": {"add": [str], "drop": [str]}, "seccompProfile": {"type": str},
}  # fmt: skip
_CONTAINER = {
    "name": str, "image": str, "imagePullPolicy": str, "command": [str], "args": [str], "workingDir": str,
    "restartPolicy": str, "env": [{"name": str, "value": str, "valueFrom": _SOURCE}],
    "envFrom": [{"prefix": str, "configMapRef": _NAMED, "secretRef": _NAMED}],
    "ports": [{"name": str, "containerPort": int, "hostPort": int, "protocol": str}],
    "resources": {"requests": {"*": _AMOUNT}, "limits": {"*": _AMOUNT}},
    "volumeMounts": [{"name": str, "mountPath": str, "subPath": str, "readOnly": bool}],
    "livenessProbe": _HANDLER, "readinessProbe": _HANDLER, "startupProbe": _HANDLER,
    "lifecycle": {"postStart": _HANDLER, "preStop": _HANDLER}, "securityContext": _SECURITY,
}  # fmt: skip
_ITEMS = [{"key": str, "path": str}]
_CLAIM = {
    "accessModes": [str], "storageClassName": str, "volumeName": str,
    "resources": {"requests": {"*": _AMOUNT}, "limits": {"*": _AMOUNT}},
}  # fmt: skip
_TERMS = [{
    "weight": int, "topologyKey": str, "labelSelector": _SELECTOR,
    "podAffinityTerm": {"topologyKey": str, "labelSelector": _SELECTOR},
}]  # fmt: skip
_PROJECTED = {"configMap": {**_NAMED, "items": _ITEMS}, "secret": {**_NAMED, "items": _ITEMS}}
_POD_SPEC = {
    "containers": [_CONTAINER], "initContainers": [_CONTAINER], "ephemeralContainers": [_CONTAINER],
    "volumes": [{
        "name": str, "secret": {"secretName": str, "optional": bool, "items": _ITEMS},
        "configMap": {**_NAMED, "items": _ITEMS}, "persistentVolumeClaim": {"claimName": str},
        "projected": {"sources": [_PROJECTED]}, "hostPath": {"path": str}, "emptyDir": {"sizeLimit": _AMOUNT},
    }],
    "nodeName": str, "nodeSelector": _TEXTS, "serviceAccountName": str, "serviceAccount": str, "restartPolicy": str,
    "hostNetwork": bool, "terminationGracePeriodSeconds": int, "imagePullSecrets": [{"name": str}],
    "priorityClassName": str, "securityContext": _SECURITY, "overhead": {"*": _AMOUNT},
    "tolerations": [{"key": str, "operator": str, "value": str, "effect": str, "tolerationSeconds": int}],
    "affinity": {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_SELECTOR]}},
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _TERMS,
                        "preferredDuringSchedulingIgnoredDuringExecution": _TERMS},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _TERMS,
                            "preferredDuringSchedulingIgnoredDuringExecution": _TERMS},
    },
    "topologySpreadConstraints": [{"topologyKey": str, "maxSkew": int, "whenUnsatisfiable": str,
                                   "labelSelector": _SELECTOR}],
}  # fmt: skip
_TEMPLATE = {"metadata": _METADATA, "spec": _POD_SPEC}
_STATE = {
    "waiting": {"reason": str, "message": str}, "running": {"startedAt": str},
    "terminated": {"reason": str, "message": str, "exitCode": int, "signal": int, "startedAt": str,
                   "finishedAt": str, "containerID": str},
}  # fmt: skip
_CONTAINER_STATUS = {
    "name": str, "ready": bool, "started": bool, "restartCount": int, "image": str, "imageID": str,
    "containerID": str, "state": _STATE, "lastState": _STATE,
}  # fmt: skip
_POD_STATUS = {
    "phase": str, "reason": str, "message": str, "podIP": str, "hostIP": str, "startTime": str, "qosClass": str,
    "conditions": [_CONDITION], "containerStatuses": [_CONTAINER_STATUS], "initContainerStatuses": [_CONTAINER_STATUS],
}  # fmt: skip
_COUNTS = dict.fromkeys(
    ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
     "currentReplicas", "desiredReplicas", "desiredNumberScheduled", "currentNumberScheduled",
     "updatedNumberScheduled", "numberAvailable", "numberReady", "numberUnavailable", "active", "succeeded", "failed",
     "currentHealthy", "desiredHealthy", "disruptionsAllowed"),
    int,
)  # fmt: skip
_STRATEGY = {"type": str, "rollingUpdate": {"maxSurge": _PORT, "maxUnavailable": _PORT, "partition": int}}
_WORKLOAD = {
    "spec": {
        "replicas": int, "paused": bool, "suspend": bool, "completions": int, "parallelism": int, "backoffLimit": int,
        "activeDeadlineSeconds": int, "minReadySeconds": int, "progressDeadlineSeconds": int, "serviceName": str,
        "ttlSecondsAfterFinished": int, "revisionHistoryLimit": int,
        "selector": _SELECTOR, "template": _TEMPLATE, "strategy": _STRATEGY, "updateStrategy": _STRATEGY,
        "volumeClaimTemplates": [{"metadata": _METADATA, "spec": _CLAIM}],
        "schedule": str, "jobTemplate": {"metadata": _METADATA, "spec": {"template": _TEMPLATE}},
    },
    "status": {**_COUNTS, "conditions": [_CONDITION], "currentRevision": str, "updateRevision": str, "startTime": str,
               "completionTime": str},
}  # fmt: skip
_BACKEND = {"service": {"name": str, "port": {"name": str, "number": int}}}
_DATA = {"data": _TEXTS, "stringData": _TEXTS, "binaryData": _TEXTS, "immutable": bool, "type": str}

_KINDS: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"), _WORKLOAD),
    "Pod": {"spec": _POD_SPEC, "status": _POD_STATUS},
    "Secret": _DATA,
    "ConfigMap": _DATA,
    "Event": {
        "type": str, "reason": str, "message": str, "action": str, "count": int, "eventTime": str, "lastTimestamp": str,
        "firstTimestamp": str, "involvedObject": _REFERENCE, "reportingComponent": str,
        "series": {"count": int, "lastObservedTime": str}, "source": {"component": str, "host": str},
    },
    "Service": {
        "spec": {
            "type": str, "selector": _TEXTS, "clusterIP": str, "externalName": str, "loadBalancerIP": str,
            "ports": [{"name": str, "port": int, "targetPort": _PORT, "nodePort": int, "protocol": str}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": str, "hostname": str}]}},
    },
    "EndpointSlice": {
        "endpoints": [{
            "addresses": [str], "conditions": {"ready": bool, "serving": bool, "terminating": bool},
            "targetRef": _REFERENCE,
        }],
        "ports": [{"name": str, "port": int, "protocol": str}],
    },
    "Ingress": {
        "spec": {
            "ingressClassName": str, "defaultBackend": _BACKEND, "tls": [{"secretName": str, "hosts": [str]}],
            "rules": [{"host": str, "http": {"paths": [{"path": str, "pathType": str, "backend": _BACKEND}]}}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": str, "hostname": str}]}},
    },
    "IngressClass": {"spec": {"controller": str}},
    "HorizontalPodAutoscaler": {
        "spec": {
            "minReplicas": int, "maxReplicas": int, "scaleTargetRef": _REFERENCE,
            "metrics": [{"type": str, "resource": {"name": str, "target": {"type": str}}}],
        },
        "status": {**_COUNTS, "lastScaleTime": str, "conditions": [_CONDITION]},
    },
    "PodDisruptionBudget": {
        "spec": {"minAvailable": _PORT, "maxUnavailable": _PORT, "selector": _SELECTOR}, "status": _COUNTS,
    },
    "PersistentVolumeClaim": {
        "spec": _CLAIM,
        "status": {"phase": str, "accessModes": [str], "capacity": {"*": _AMOUNT}, "conditions": [_CONDITION]},
    },
    "PersistentVolume": {
        "spec": {"storageClassName": str, "capacity": {"*": _AMOUNT}, "accessModes": [str], "claimRef": _REFERENCE,
                 "hostPath": {"path": str}, "persistentVolumeReclaimPolicy": str},
        "status": {"phase": str},
    },
    "StorageClass": {"provisioner": str, "allowVolumeExpansion": bool, "volumeBindingMode": str},
    "NetworkPolicy": {"spec": {"podSelector": _SELECTOR, "policyTypes": [str]}},
    "Node": {
        "spec": {"unschedulable": bool, "taints": [{"key": str, "value": str, "effect": str}]},
        "status": {
            "allocatable": {"*": _AMOUNT}, "capacity": {"*": _AMOUNT}, "conditions": [_CONDITION],
            "addresses": [{"type": str, "address": str}],
            "nodeInfo": {"architecture": str, "kubeletVersion": str, "operatingSystem": str},
            "images": [{"names": [str], "sizeBytes": int}],
        },
    },
    "Namespace": {"status": {"phase": str}},
    "Lease": {
        "spec": {"holderIdentity": str, "leaseDurationSeconds": int, "renewTime": str, "acquireTime": str,
                 "leaseTransitions": int},
    },
}  # fmt: skip
_EVERY = {"apiVersion": str, "kind": str, "metadata": _METADATA}


def well_formed(body: dict[str, Any], kind: str = "") -> dict[str, Any]:
    """The object itself, of this kind where one is given: null fields and those of a wrong type are gone.

    It has metadata always.
    """
    if kind:
        body["kind"] = kind
    if not isinstance(body.get("metadata"), dict):
        body["metadata"] = {}
    _fit(_EVERY, body)
    _fit(_KINDS.get(body.get("kind", ""), {}), body)
    return body


def identified(body: dict[str, Any]) -> dict[str, Any]:
    """The object itself, without what is not a mapping or list where the API has one; its name and kind are texts.

    A scalar of another type stays, and so does any entry of labels or data: what a chart renders wrongly is for the
    rules and the API server to say. It has metadata always.
    """
    if not isinstance(body.get("metadata"), dict):
        body["metadata"] = {}
    for holder, name in ((body, "kind"), (body["metadata"], "name"), (body["metadata"], "namespace")):
        if not isinstance(holder.get(name, ""), str):
            del holder[name]
    _fit(_EVERY, body, loose=True)
    _fit(_KINDS.get(body.get("kind", ""), {}), body, loose=True)
    return body


def fitted(shape: Mapping[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """The map itself, without the fields that have another type than the shape (maps, lists of one, types) says."""
    _fit(shape, body)
    return body


def _fit(shape: Any, value: Any, *, loose: bool = False) -> bool:
    """Whether the value has the shape, once what does not fit within it was taken out; `loose` as of `identified`."""
    if type(shape) is dict:
        if type(value) is not dict:
            return False
        rest, wrong = None if loose and shape is _TEXTS else shape.get("*"), []
        for name, one in value.items():  # a thousand pods are looked at every second: no call for a scalar
            wanted = shape.get(name, rest)
            fits = wanted is None or type(one) is wanted or (one is not None and _fit(wanted, one, loose=loose))
            if not fits:
                wrong.append(name)
        for name in wrong:
            del value[name]
        return True
    if type(shape) is list:
        if type(value) is not list:
            return False
        inner = shape[0]
        fitting = [one for one in value if type(one) is inner or _fit(inner, one, loose=loose)]
        if len(fitting) < len(value):
            value[:] = fitting
        return True
    if loose:
        return type(value) in (str, int, float, bool)
    return type(value) in shape if type(shape) is tuple else type(value) is shape
