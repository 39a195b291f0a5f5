"""Hollow nodes in a real cluster: the API server, the scheduler and the controllers are real, the pods do not run.

As kubemark's hollow nodes and KWOK's. `python -m bench.hollow CONTEXT NODES` adds the nodes, prints a line when they
are ready, says of each pod that is scheduled to one that it runs, and removes the nodes when it is ended.
"""

from __future__ import annotations

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

Object = dict[str, Any]

LABEL = "todo-deploy.bench/hollow"
"""Label and taint of the nodes."""
_LEASES = "kube-node-lease"
_START_SECONDS = 1.0


class Hollow:
    """Nodes, and what a kubelet would say of their pods."""

    def __init__(self, api: client.ApiClient, count: int) -> None:
        self.core: Any = client.CoreV1Api(api)  # whose types leave no room for plain objects
        self.leases: Any = client.CoordinationV1Api(api)
        self.nodes = tuple(f"hollow-{number}" for number in range(count))
        self._pool, self._ended = ThreadPoolExecutor(8), Event()
        self._told: set[str] = set()

    def begin(self) -> None:
        """The nodes are Ready, and pods that come to them run."""
        for name in self.nodes:
            self._add(name)
        for target in (self._renew, self._watch):
            Thread(target=target, daemon=True).start()

    def end(self) -> None:
        """Neither the nodes nor a pod of theirs is left."""
        self._ended.set()
        for name in self.nodes:
            with suppress(ApiException):
                self.core.delete_node(name)
        for pod in self.core.list_pod_for_all_namespaces().items:
            if pod.spec.node_name in self.nodes:
                self._delete(pod.metadata.namespace, pod.metadata.name)

    def _add(self, name: str) -> None:
        size = {"cpu": "256", "memory": "1Ti", "pods": "1000", "ephemeral-storage": "1Ti"}
        taint = {"key": LABEL, "value": "true", "effect": "NoSchedule"}
        labels = {LABEL: "true", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        with suppress(ApiException):  # one that an earlier run has left
            self.core.create_node({"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]}})
        ready = {"type": "Ready", "status": "True", "reason": "Hollow", "lastHeartbeatTime": _now(),
                 "lastTransitionTime": _now()}  # fmt: skip
        self.core.patch_node_status(name, {"status": {"capacity": size, "allocatable": size, "conditions": [ready]}})

    def _renew(self) -> None:
        """The leases tell the node controller that the nodes are alive."""
        while not self._ended.is_set():
            for name in self.nodes:
                spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": _now(micro=True)}
                try:
                    self.leases.patch_namespaced_lease(name, _LEASES, {"spec": spec})
                except ApiException:
                    with suppress(ApiException):
                        self.leases.create_namespaced_lease(_LEASES, {"metadata": {"name": name}, "spec": spec})
            self._ended.wait(10)

    def _watch(self) -> None:
        version = ""
        while not self._ended.is_set():
            with suppress(ApiException, OSError):
                if not version:
                    listed = self.core.list_pod_for_all_namespaces(_preload_content=False).json()
                    version = listed["metadata"]["resourceVersion"]
                    for pod in listed["items"]:
                        self._see(pod)
                stream = watch.Watch().stream(  # type: ignore[no-untyped-call]
                    self.core.list_pod_for_all_namespaces, resource_version=version, timeout_seconds=300
                )
                version = ""
                for event in stream:
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._see(event["raw_object"])

    def _see(self, pod: Object) -> None:
        meta = pod["metadata"]
        if pod["spec"].get("nodeName") not in self.nodes:
            return
        leaves = bool(meta.get("deletionTimestamp"))
        mark = f"{meta['uid']} {leaves}"
        if mark in self._told:
            return
        self._told.add(mark)
        if leaves:
            self._pool.submit(self._delete, meta["namespace"], meta["name"])
        else:
            self._pool.submit(self._run, pod, time.monotonic())

    def _run(self, pod: Object, seen: float) -> None:
        time.sleep(max(0.0, seen + _START_SECONDS - time.monotonic()))
        with suppress(ApiException):  # gone by now
            meta = pod["metadata"]
            self.core.patch_namespaced_pod_status(
                meta["name"], meta["namespace"], {"status": running(pod)}, _preload_content=False
            )

    def _delete(self, namespace: str, name: str) -> None:
        with suppress(ApiException):
            self.core.delete_namespaced_pod(name, namespace, grace_period_seconds=0, _preload_content=False)


def running(pod: Object) -> Object:
    """The status of a pod all of whose containers are ready, as a kubelet reports it."""
    uid, now = pod["metadata"]["uid"], _now()
    kinds = ("Initialized", "Ready", "ContainersReady")
    containers = [
        {
            "name": one["name"], "image": one["image"], "imageID": f"docker://sha256:{'0' * 64}",
            "containerID": f"docker://{uid.replace('-', ''):0>64}", "ready": True, "started": True,
            "restartCount": 0, "state": {"running": {"startedAt": now}},
        }
        for one in pod["spec"]["containers"]
    ]  # fmt: skip
    return {
        "phase": "Running", "startTime": now, "podIP": "198.18.0.1", "podIPs": [{"ip": "198.18.0.1"}],
        "conditions": [{"type": one, "status": "True", "lastTransitionTime": now} for one in kinds],
        "containerStatuses": containers,
    }  # fmt: skip


def _now(*, micro: bool = False) -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def main() -> None:
    """The nodes are there until a signal ends it."""
    context, count = sys.argv[1:]
    api = config.new_client_from_config(context=context)  # type: ignore[no-untyped-call]
    hollow, ended = Hollow(api, int(count)), Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    try:
        hollow.begin()
        print("ready", flush=True)
        ended.wait()
    finally:
        hollow.end()


if __name__ == "__main__":
    main()
