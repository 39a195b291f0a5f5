"""Synthetic objects of a large application at a moment of its rollout, as big as the API server's own."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from deployer.status import WorkloadRef

Object = dict[str, Any]

NAMESPACE = "crowd"
_FIELDS = ("f:metadata", "f:labels", "f:ownerReferences", "f:spec", "f:containers", "f:env", "f:resources", "f:status")


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many workloads and pods, the last of which is ready so many seconds after the beginning.

    Each pod has as many events as a healthy start gives it. Nothing runs: the objects are made up.
    """

    workloads: int
    pods: int
    seconds: float

    @property
    def each(self) -> int:
        """Pods of one workload."""
        return self.pods // self.workloads

    @property
    def refs(self) -> tuple[WorkloadRef, ...]:
        """The workloads to watch."""
        return tuple(WorkloadRef(NAMESPACE, "Deployment", f"service-{number}") for number in range(self.workloads))


def objects(crowd: Crowd, kind: str, began: float, now: float) -> list[Object]:
    """Everything of a kind as it is `now`, seconds of the wall clock both."""
    makers = {"deployments": _deployment, "replicasets": _replica_set}
    if kind in makers:
        return [makers[kind](crowd, number, began, now) for number in range(crowd.workloads)]
    pods = [(number, index) for number in range(crowd.workloads) for index in range(crowd.each)]
    if kind == "pods":
        return [_pod(crowd, number, index, began, now) for number, index in pods]
    if kind == "events":
        return [event for number, index in pods for event in _events(crowd, number, index, began)]
    return []


def _ready_at(crowd: Crowd, number: int, index: int, began: float) -> float:
    """Pods become ready one after the other, those of all workloads mixed."""
    place = index * crowd.workloads + number + 1
    return began + crowd.seconds * place / crowd.pods


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _fields(manager: str, at: float) -> Object:
    """Ownership of fields, a third of what the API server sends of a pod."""
    owned: Object = {}
    for name in _FIELDS:
        owned[name] = {f"f:{part}": {} for part in ("name", "image", "ports", "limits", "requests", "conditions")}
    return {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": _stamp(at), "fieldsType": "FieldsV1",
            "fieldsV1": owned}  # fmt: skip


def _template(number: int) -> Object:
    name = f"service-{number}"
    probe = {"httpGet": {"path": "/health", "port": 8000, "scheme": "HTTP"}, "timeoutSeconds": 3, "periodSeconds": 10,
             "successThreshold": 1, "failureThreshold": 3}  # fmt: skip
    container = {
        "name": name, "image": f"registry.example/{name}:1.0.0-0123456789ab", "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": 8000, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{index}", "valueFrom": {"configMapKeyRef": {"name": name, "key": f"K{index}"}}}
                for index in range(8)],
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "livenessProbe": probe, "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    }  # fmt: skip
    spec = {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "schedulerName": "default-scheduler", "securityContext": {}}  # fmt: skip
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def _metadata(name: str, uid: str, at: float, **more: Any) -> Object:
    return {"name": name, "namespace": NAMESPACE, "uid": uid, "resourceVersion": str(int(at)), "generation": 1,
            "creationTimestamp": _stamp(at), "managedFields": [_fields("kubelet", at), _fields("helm", at)],
            **more}  # fmt: skip


def _counts(crowd: Crowd, number: int, began: float, now: float) -> tuple[int, int]:
    ready = sum(now >= _ready_at(crowd, number, index, began) for index in range(crowd.each))
    return ready, crowd.each


def _deployment(crowd: Crowd, number: int, began: float, now: float) -> Object:
    ready, wanted = _counts(crowd, number, began, now)
    done = ready == wanted
    reason = "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
    conditions = [
        {"type": "Available", "status": str(done), "lastTransitionTime": _stamp(began)},
        {"type": "Progressing", "status": "True", "reason": reason, "lastTransitionTime": _stamp(began)},
    ]
    status = {"observedGeneration": 1, "replicas": wanted, "updatedReplicas": wanted, "conditions": conditions}
    status |= {"readyReplicas": ready, "availableReplicas": ready} if ready else {}
    status |= {"unavailableReplicas": wanted - ready} if not done else {}
    name = f"service-{number}"
    spec = {"replicas": wanted, "selector": {"matchLabels": {"app": name}}, "template": _template(number),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 600}  # fmt: skip
    metadata = _metadata(name, f"deployment-{number}", began)
    metadata["resourceVersion"] = str(int(began) + ready)
    metadata["annotations"] = {"deployment.kubernetes.io/revision": "1"}
    return {"kind": "Deployment", "metadata": metadata, "spec": spec, "status": status}


def _replica_set(crowd: Crowd, number: int, began: float, now: float) -> Object:
    ready, wanted = _counts(crowd, number, began, now)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"service-{number}", "uid": f"deployment-{number}",
             "controller": True}  # fmt: skip
    metadata = _metadata(f"service-{number}-rs", f"set-{number}", began, ownerReferences=[owner],
                         annotations={"deployment.kubernetes.io/revision": "1"})  # fmt: skip
    status = {"replicas": wanted, "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1}
    return {"kind": "ReplicaSet", "metadata": metadata,
            "spec": {"replicas": wanted, "template": _template(number)}, "status": status}  # fmt: skip


def _pod(crowd: Crowd, number: int, index: int, began: float, now: float) -> Object:
    ready = now >= _ready_at(crowd, number, index, began)
    name, container = f"service-{number}-rs-{index}", f"service-{number}"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"service-{number}-rs", "uid": f"set-{number}",
             "controller": True}  # fmt: skip
    metadata = _metadata(name, f"pod-{number}-{index}", began, ownerReferences=[owner],
                         labels={"app": container, "pod-template-hash": "rs"})  # fmt: skip
    state = {"running": {"startedAt": _stamp(began + 1)}}
    conditions = [{"type": kind, "status": str(ready or kind in ("PodScheduled", "Initialized")),
                   "lastTransitionTime": _stamp(began)}
                  for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                               "PodScheduled")]  # fmt: skip
    container_state = {"name": container, "image": f"registry.example/{container}:1.0.0-0123456789ab", "ready": ready,
                       "imageID": "docker-pullable://registry.example/x@sha256:" + "0" * 64,
                       "containerID": "docker://" + "0" * 64, "restartCount": 0, "started": True, "state": state,
                       "lastState": {}}  # fmt: skip
    status = {"phase": "Running", "qosClass": "Burstable", "hostIP": "192.0.2.1", "podIP": f"10.0.{number}.{index}",
              "startTime": _stamp(began), "conditions": conditions, "containerStatuses": [container_state]}  # fmt: skip
    spec = {**_template(number)["spec"], "nodeName": "node"}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _events(crowd: Crowd, number: int, index: int, began: float) -> list[Object]:
    name = f"service-{number}-rs-{index}"
    about = {"kind": "Pod", "namespace": NAMESPACE, "name": name, "uid": f"pod-{number}-{index}", "apiVersion": "v1"}
    reasons = {"Scheduled": f"Successfully assigned {NAMESPACE}/{name} to node",
               "Pulled": "Container image already present on machine", "Created": "Created container",
               "Started": "Started container"}  # fmt: skip
    return [
        {"kind": "Event", "metadata": {"name": f"{name}.{reason.lower()}", "namespace": NAMESPACE,
                                       "uid": f"event-{reason}-{name}", "creationTimestamp": _stamp(began)},
         "involvedObject": about, "reason": reason, "message": message, "type": "Normal", "count": 1,
         "firstTimestamp": _stamp(began), "lastTimestamp": _stamp(began), "eventTime": None,
         "source": {"component": "kubelet", "host": "node"}}
        for reason, message in reasons.items()
    ]  # fmt: skip
