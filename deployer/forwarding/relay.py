"""The relay: connections to local ports are passed on to ready pods, chosen anew for each connection.

A pod that is replaced costs nothing: those that are leaving are no longer chosen, and a connection that cannot be made
is tried with another pod.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.ports import KubePort, Object, PodConnection
from deployer.forwarding.ports import HOST, PortMapping
from deployer.status.objects import rows

_CHUNK = 65536
# How long a browser waits for a pod to become ready before its connection is closed.
_READY_TIMEOUT_SECONDS = 15.0
_PAUSE_SECONDS = 0.3
_FIRST_WORD_SECONDS, _LAST_WORDS_SECONDS = 0.5, 2.0
_HTTP = 80

Backend = tuple[str, str, int]
"""Namespace, pod and port of the pod."""


def listen(mapping: PortMapping, connect: Callable[[], KubePort]) -> socket.socket:
    """The local port listens, and a thread passes on each connection. Raises OSError where the port is taken."""
    server = socket.create_server((HOST, mapping.local), backlog=128)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=_pass_on, args=(client, mapping, connect), daemon=True).start()

    threading.Thread(target=accept, daemon=True, name=f"listen-{mapping.local}").start()
    return server


def backends(mapping: PortMapping, kube: KubePort) -> list[Backend]:
    """The ready pods that the port mapping leads to."""
    if not mapping.service:
        return _ingress(kube)
    service = kube.get("Service", mapping.namespace, mapping.service)
    if service is None:
        return []
    ports = (service.get("spec") or {}).get("ports") or []
    wanted = next((one for one in ports if mapping.port in ("", str(one.get("name")), str(one.get("port")))), None)
    if wanted is None:
        return []
    slices = kube.list("EndpointSlice", mapping.namespace, labels=f"kubernetes.io/service-name={mapping.service}")
    return [found for one in slices for found in _ready(one, wanted.get("name") or "")]


def _ready(endpoints: Object, name: str) -> list[Backend]:
    port = next((one.get("port") for one in endpoints.get("ports") or () if (one.get("name") or "") == name), None)
    found = []
    for one in endpoints.get("endpoints") or ():
        target: Mapping[str, Any] = one.get("targetRef") or {}
        is_ready = (one.get("conditions") or {}).get("ready") is not False
        if port is not None and is_ready and target.get("kind") == "Pod" and target.get("name"):
            found.append((target.get("namespace") or endpoints["metadata"]["namespace"], target["name"], int(port)))
    return found


def _ingress(kube: KubePort) -> list[Backend]:
    """The pods that answer at port 80 of their node."""
    found = []
    for pod in kube.list("Pod"):
        if (pod.get("status") or {}).get("phase") != "Running":
            continue
        for container in rows(pod, "spec", "containers"):
            found += [
                (pod["metadata"]["namespace"], pod["metadata"]["name"], int(port["containerPort"]))
                for port in container.get("ports") or () if port.get("hostPort") == _HTTP
            ]  # fmt: skip
    return found


def _pass_on(client: socket.socket, mapping: PortMapping, connect: Callable[[], KubePort]) -> None:
    with client:
        pod = _connection(mapping, connect) if _speaks(client) else None
        if pod is None:
            return
        back = threading.Thread(target=_answer, args=(pod, client), daemon=True)
        back.start()
        with suppress(OSError):
            while data := client.recv(_CHUNK):
                pod.send(data)
        back.join(_LAST_WORDS_SECONDS)  # who has said all may still want to hear the answer
        pod.interrupt()
        back.join()
        pod.close()


def _speaks(client: socket.socket) -> bool:
    """False where the client closed without sending, as one does that only checks whether the port is open."""
    with suppress(OSError):
        said, _, _ = select.select([client], [], [], _FIRST_WORD_SECONDS)
        return not said or bool(client.recv(1, socket.MSG_PEEK))
    return False


def _answer(pod: PodConnection, client: socket.socket) -> None:
    with suppress(OSError):
        while data := pod.receive():
            client.sendall(data)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _connection(mapping: PortMapping, connect: Callable[[], KubePort]) -> PodConnection | None:
    """A connection to a ready pod; None where there was none for too long."""
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            kube = connect()
            found = backends(mapping, kube)
            random.shuffle(found)
            for namespace, pod, port in found:
                with suppress(OSError):
                    return kube.connect_pod(namespace, pod, port)
        except (DeployError, OSError):
            pass  # the API server is away for a moment: asked again
        time.sleep(_PAUSE_SECONDS)
    return None
