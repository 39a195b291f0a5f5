"""The table of faults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bench.faults.model import NAMESPACE, Edit, Ends, Fault
from tests.cluster import PROFILE
from tests.e2e.hook import migration

REGISTRY = "127.0.0.1:5999"
"""A small registry on the node (see `bench`): it has nothing, and denies `denied/…`."""
NODE = "control-plane.minikube.internal"
"""The node by a name that it knows itself by; Docker wants https and a certificate there, unlike at 127.0.0.1."""
DEAF_REGISTRY = "127.0.0.1:5998"
HOST_ONLY_TAG = "1.0.0-0ff5e70f4057"
"""A tag that the bench gives to an image in the host's daemon, and to none in the cluster's."""
GONE_TAG = "1.0.0-0000000dead0"
IMAGE = "${image:backend}"
"""Stands for the backend's image as it was built."""

_VALUES = "charts/todo-app/values.yaml"
_NOT_RUN = r"pod/backend-\S+ container backend (waiting RunContainerError|ended (ContainerCannotRun|StartError))"
_FAILED_CREATE = r"replicaset/backend-\S+ condition ReplicaFailure=True"
_NO_METRICS = "horizontalpodautoscaler/backend-hpa condition ScalingActive=False"
_TYPO = '{{ if eq .Chart.Name "backend" }}-typo{{ end }}'
STALLED = Path(__file__).with_name("stalled.yaml")
"""A kind of its own; it stays until the end, for helm cannot upgrade a release with objects of a kind that is gone."""
_BACKUP = """\
apiVersion: faults.example.com/v1
kind: Backup
metadata: {name: nightly}
"""
_CHECK = """\
apiVersion: v1
kind: Pod
metadata: {name: check}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: check
      image: "{{ .Values.backend.image.repository }}:{{ .Values.backend.image.tag }}"
      command: [sh, -c, "echo 'check: no licence'; exit 3"]
      securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 200m, memory: 128Mi}}
"""
_SELECTOR = '{{- include "component.selectorLabels" . | nindent 4 }}'
_SECURITY = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
_SMALL = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}


def _replaced(old: str, new: str) -> Edit:
    def edit(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return edit


def _without(key: str) -> Edit:
    """The chart's values without the backend's reference to this key."""
    return _replaced(f"    {key}: {{secret: app-secrets, key: {key}}}\n", "")


def _pod(reason: str) -> str:
    return rf"pod/backend-\S+ container backend waiting {reason}"


def _ended(words: str) -> str:
    return rf"pod/backend-\S+ container backend ended {words}"


def _unready(kind: str) -> str:
    return rf"event pod/backend-\S+ Unhealthy {kind} probe"


def _said(words: str) -> str:
    return rf"log pod/backend-\S+ backend: .*{words}"


def _volume(source: dict[str, Any]) -> dict[str, Any]:
    return {
        "extraVolumes": [{"name": "extra", **source}],
        "extraVolumeMounts": [{"name": "extra", "mountPath": "/extra"}],
    }


def _unschedulable(words: str) -> str:
    return rf"pod/backend-\S+ condition PodScheduled=False Unschedulable: .*{words}"


def _shell(words: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", words]}


def _probe(path: str, **numbers: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": 8000}, **numbers}


N, C, D, W = Ends.NOW, Ends.CONFIRMED, Ends.DEADLINE, Ends.GOES_ON

# What would refuse these before a build.
NO_IMAGE = ("TAG_NOT_BUILT", "IMAGE_NOT_BUILT", "IMAGE_UNREACHABLE")

FAULTS: tuple[Fault, ...] = (
    # --- images
    Fault("image may not be pulled", "IMAGE_NEVER_PULL", N, _pod("ErrImageNeverPull"), GONE_TAG,
          values={"image": {"pullPolicy": "Never"}}, tags={"tag": GONE_TAG}, waived=NO_IMAGE),
    Fault("image in the host's daemon only", "IMAGE_NEVER_PULL", N, _pod("ErrImageNeverPull"),
          "host's daemon",
          values={"image": {"pullPolicy": "Never"}}, tags={"tag": HOST_ONLY_TAG}, waived=NO_IMAGE),
    Fault("image not in the registry", "IMAGE_NOT_FOUND", N, _pod("ErrImagePull"), "does not exist",
          tags={"repository": f"{REGISTRY}/another", "tag": GONE_TAG}, waived=NO_IMAGE),
    Fault("image denied by the registry", "IMAGE_DENIED", N, _pod("ErrImagePull"), "denied",
          tags={"repository": f"{REGISTRY}/denied/another", "tag": GONE_TAG}, waived=NO_IMAGE),
    Fault("registry out of reach", "IMAGE_NETWORK", C, _pod("ErrImagePull"), "cannot reach the registry",
          tags={"repository": f"{DEAF_REGISTRY}/another", "tag": GONE_TAG}, waived=NO_IMAGE),
    Fault("registry that speaks plain http", "IMAGE_HTTP", N, _pod("ErrImagePull"), "plain http",
          tags={"repository": f"{NODE}:5999/another", "tag": GONE_TAG}, waived=NO_IMAGE),
    # The port of the kubelet, which signs its certificate itself.
    Fault("registry whose certificate is not trusted", "IMAGE_CERTIFICATE", N, _pod("ErrImagePull"), "certificate",
          tags={"repository": f"{NODE}:10250/another", "tag": GONE_TAG}, waived=NO_IMAGE),
    Fault("image's name is none", "IMAGE_NAME_INVALID", N, _pod("InvalidImageName"), "not an image name",
          values={"image": {"registry": "local registry"}}, waived=NO_IMAGE),
    # --- what a container needs
    Fault("Secret missing", "CONFIG_SECRET_MISSING", N, _pod("CreateContainerConfigError .*secret"), "no-such-secret",
          values={"secretEnv": {"TOKEN": {"secret": "no-such-secret", "key": "TOKEN"}}}, waived=("REFERENCE_MISSING",)),
    Fault("ConfigMap missing", "CONFIG_MAP_MISSING", N, _pod("CreateContainerConfigError .*configmap"),
          "no-such-config",
          values={"config": {"create": False, "name": "no-such-config"}}, waived=("REFERENCE_MISSING",)),
    Fault("key missing in a Secret", "CONFIG_KEY_MISSING", N, _pod("CreateContainerConfigError .*key"), "OPENAI_APIKEY",
          values={"secretEnv": {"OPENAI_API_KEY": {"secret": "app-secrets", "key": "OPENAI_APIKEY"}}},
          waived=("REFERENCE_KEY_MISSING",)),
    Fault("user without a number", "NON_NUMERIC_USER", N, _pod("CreateContainerConfigError .*user"), "runAsNonRoot",
          values={"podSecurityContext": {"runAsUser": None}}, waived=("USER_NOT_NUMERIC",),
          files={"dockerfiles/backend.Dockerfile": _replaced("USER 1000", "USER nobody")}),
    Fault("volume of a missing Secret", "VOLUME_MOUNT", C, r"event pod/backend-\S+ FailedMount", "no-such-secret",
          values=_volume({"secret": {"secretName": "no-such-secret"}}), waived=("REFERENCE_MISSING",)),
    Fault("volume of a missing ConfigMap", "VOLUME_MOUNT", C, r"event pod/backend-\S+ FailedMount", "no-such-config",
          values=_volume({"configMap": {"name": "no-such-config"}}), waived=("REFERENCE_MISSING",)),
    Fault("volume claim missing", "UNSCHEDULABLE_VOLUME", C, _unschedulable("not found"), "no-such-claim",
          values=_volume({"persistentVolumeClaim": {"claimName": "no-such-claim"}})),
    Fault("volume claim without a StorageClass", "PVC_PENDING", C, r"event persistentvolumeclaim/backend-data Prov",
          "no-such-class", also=("UNSCHEDULABLE_VOLUME",), waived=("STORAGE_CLASS", "CLAIM_ACCESS"),
          values={"persistence": {"enabled": True, "keep": False, "storageClass": "no-such-class",
                                  "mountPath": "/extra"}}),
    # --- nodes
    Fault("too much CPU", "UNSCHEDULABLE_CPU", C, _unschedulable("Insufficient cpu"), "requests 64",
          values={"resources": {"requests": {"cpu": "64"}, "limits": {"cpu": "64"}}}, waived=("CAPACITY",)),
    Fault("too much memory", "UNSCHEDULABLE_MEMORY", C, _unschedulable("Insufficient memory"), "requests 512Gi",
          values={"resources": {"requests": {"memory": "512Gi"}, "limits": {"memory": "512Gi"}}}, waived=("CAPACITY",)),
    Fault("no node with the label", "UNSCHEDULABLE_SELECTOR", C, _unschedulable("node affinity/selector"),
          "disk=fast", values={"nodeSelector": {"disk": "fast"}}),
    Fault("node with a taint", "UNSCHEDULABLE_TAINT", C, _unschedulable("untolerated taint"), "faults",
          values={"podAnnotations": {"fault": "taint"}},
          before=(("taint", "nodes", PROFILE, "faults=on:NoSchedule"),),
          after=(("taint", "nodes", PROFILE, "faults-"),)),
    # --- pods that may not be made
    Fault("quota used up", "QUOTA", N, _FAILED_CREATE, "quota",
          values={"podAnnotations": {"fault": "quota"}}, settled=True,
          before=(("create", "quota", "faults", "--hard=pods=7", "-n", NAMESPACE),),
          after=(("delete", "quota", "faults", "-n", NAMESPACE),)),
    Fault("refused by pod security", "ADMISSION", N, _FAILED_CREATE,
          "allowPrivilegeEscalation",
          values={"containerSecurityContext": {"allowPrivilegeEscalation": True}},
          before=(("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"),),
          after=(("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce-"),)),
    Fault("service account missing", "SERVICE_ACCOUNT", C, _FAILED_CREATE,
          "no-such-account", values={"serviceAccount": {"name": "no-such-account"}}),
    # --- the first process
    Fault("program not in the image", "RUN_NO_SUCH_FILE", N, _NOT_RUN, "/no/such/program",
          values={"command": ["/no/such/program"]}),
    Fault("program may not be executed", "RUN_PERMISSION", C, _NOT_RUN, "/etc/hosts",
          values={"command": ["/etc/hosts"]}),
    Fault("program of no known format", "EXEC_FORMAT", N, _ended(""), "backend",
          values={"command": ["/extra/LOG_LEVEL"],
                  **_volume({"configMap": {"name": "backend-config", "defaultMode": 0o755}})}),
    # --- processes that end
    Fault("wrong setting", "CRASH_LOOP", C, _ended("Error exit 2"), "BACKEND_PORT must be a number",
          values={"config": {"data": {"BACKEND_PORT": "http"}}}),
    Fault("ready once, then crashes", "CRASH_LOOP", Ends.HELD, _ended("Error exit 1"), "licence", hold="20s",
          exit_code=6, waived=("REPLICAS",),
          values={"replicaCount": 1, "probes": {"readiness": {"initialDelaySeconds": 1, "periodSeconds": 1}},
                  **_shell("python -m todo_backend & sleep 12; echo 'fatal: the licence is used up'; exit 1")}),
    Fault("setting not given", "ENV_MISSING", C, _ended("Error exit 2"), "BETTER_AUTH_SECRET",
          files={_VALUES: _without("BETTER_AUTH_SECRET")}),
    Fault("more memory than the limit", "OOM_KILLED", C, _ended("OOMKilled"), "48Mi",
          values={"resources": {"requests": {"memory": "32Mi"}, "limits": {"memory": "48Mi"}}}),
    Fault("writes to a read-only file system", "READ_ONLY_FS", C, _ended("Error exit 1"), "/app/state.db",
          values={"command": ["python", "-c", "open('/app/state.db', 'w')"]}),
    Fault("port taken in its pod", "PORT_IN_USE", C, _ended("Error exit"), "8000",
          values={"initContainers": [{"name": "proxy", "image": IMAGE, "restartPolicy": "Always",
                                      "command": ["python", "-m", "http.server", "8000"],
                                      "securityContext": _SECURITY, "resources": _SMALL}]}),
    Fault("init container fails", "INIT_FAILED", C, r"pod/backend-\S+ container prepare ended Error exit 3",
          "no price list",
          values={"initContainers": [{"name": "prepare", "image": IMAGE, "securityContext": _SECURITY,
                                      "command": ["sh", "-c", "echo 'prepare: no price list'; exit 3"],
                                      "resources": _SMALL}]}),
    Fault("database refuses the password", "DB_PASSWORD", D, _said("password authentication failed"), "password",
          files={_VALUES: _without("DATABASE_URL")},
          values={"env": {"DATABASE_URL": "postgresql://todo:wrong@database-service:5432/todo"}},
          waived=("SECRET_LEAK", "CONFIG_SECRET"), timeout=30),
    Fault("database not at its address", "DEPENDENCY", D, _said("no-such-database"), "no-such-database",
          files={_VALUES: _without("DATABASE_URL")},
          values={"env": {"DATABASE_URL": "postgresql://todo@no-such-database:5432/todo"}},
          waived=("SECRET_LEAK", "CONFIG_SECRET"), timeout=30),
    # --- probes
    Fault("startup probe fails", "STARTUP_PROBE", D, _unready("Startup"), "startup probe", timeout=30,
          values={"probes": {"startup": _probe("/no-such-page", periodSeconds=2, failureThreshold=5)}}),
    Fault("liveness probe fails", "LIVENESS_PROBE", D, r"event pod/backend-\S+ Killing .*failed liveness",
          "liveness probe",
          timeout=30,
          values={"probes": {"liveness": _probe("/no-such-page", initialDelaySeconds=1, periodSeconds=2,
                                                failureThreshold=2),
                             "readiness": {"initialDelaySeconds": 20}}}),
    Fault("readiness probe fails", "READINESS_PROBE", D, _unready("Readiness"), "readiness probe", timeout=30,
          values={"probes": {"readiness": {"httpGet": {"path": "/no-such-page", "port": 8000}}}}),
    # --- around the pods
    Fault("Service that selects nothing", "SERVICE_NO_ENDPOINTS", C, r"endpoints/backend-service ready 0",
          "backend-service",
          exit_code=6, waived=("SERVICE_SELECTOR",),
          files={"charts/component/templates/_service.tpl": _replaced(_SELECTOR, _SELECTOR + _TYPO)}),
    Fault("Ingress without a controller", "INGRESS_NO_CONTROLLER", W, r"ingress/backend", "no-such-class", exit_code=0,
          values={"ingress": {"enabled": True, "className": "no-such-class",
                              "hosts": [{"host": "todo.local", "paths": [{"path": "/"}]}]}}),
    Fault("autoscaler without metrics", "HPA_NO_METRICS", W, _NO_METRICS,
          "no metrics server", exit_code=0, hold="25s", without=("apiservice/v1beta1.metrics.k8s.io",),
          values={"autoscaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 3}}),
    Fault("bare pod fails", "POD_FAILED", N, r"pod/check phase Failed", "no licence", also=("CRASH_LOOP",),
          files={"charts/todo-app/templates/check.yaml": lambda text: _CHECK}),
    Fault("custom resource is stalled", "RESOURCE_STALLED", C, r"backup/nightly condition Stalled=True", "bucket",
          files={"charts/todo-app/templates/backup.yaml": lambda text: _BACKUP},
          before=(("apply", "-f", str(STALLED)),)),
    Fault("hook's Job fails", "HOOK_FAILED", N, r"job/todo-migrate condition (Failed|FailureTarget)=True",
          "migration 0007",
          files={"charts/todo-app/templates/migrate.yaml": lambda text: migration("before-hook-creation", seconds=2)}),
)  # fmt: skip


def chosen(pattern: str) -> tuple[Fault, ...]:
    """The faults whose name or code the pattern matches."""
    return tuple(one for one in FAULTS if re.search(pattern, f"{one.name} {one.code}", re.IGNORECASE))
