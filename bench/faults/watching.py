"""What the API server shows, and when: watches of their own, independent of the program that is measured."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubernetes.config import new_client_from_config

from deployer.core.ports import KINDS, Kind

Object = dict[str, Any]

WATCHED = (
    "Pod", "Event", "ReplicaSet", "Deployment", "StatefulSet", "Job", "PersistentVolumeClaim", "EndpointSlice",
    "HorizontalPodAutoscaler", "Ingress", "Backup",
)  # fmt: skip
_KINDS = {**KINDS, "Backup": Kind("apis/faults.example.com/v1", "backups")}
"""That of stalled.yaml is there only for the fault that needs it."""


def signs(kind: str, obj: Object) -> Iterator[str]:
    """What can be seen of an object, one line a sign."""
    name, status = f"{kind.lower()}/{obj['metadata']['name']}", obj.get("status") or {}
    if kind == "Event":
        about = obj.get("involvedObject") or {}
        who = f"{str(about.get('kind')).lower()}/{about.get('name')}"
        yield f"event {who} {obj.get('reason')} {_flat(obj.get('message'))}"
        return
    if kind == "EndpointSlice":
        service = (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
        ready = [one for one in obj.get("endpoints") or () if (one.get("conditions") or {}).get("ready") is not False]
        yield f"endpoints/{service} ready {len(ready)}"
        return
    yield f"{name} phase {status.get('phase')}"
    for one in status.get("conditions") or ():
        yield f"{name} condition {one['type']}={one['status']} {one.get('reason')}: {_flat(one.get('message'))}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        here = f"{name} container {container['name']}"
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if waiting := state.get("waiting"):
                yield f"{here} waiting {waiting.get('reason')} {_flat(waiting.get('message'))}"
            if ended := state.get("terminated"):
                words = f"{ended.get('reason')} exit {ended.get('exitCode')} {_flat(ended.get('message'))}"
                yield f"{here} ended {words} #{str(ended.get('containerID'))[-12:]}"


def _flat(text: object) -> str:
    return " ".join(str(text or "").split())


@dataclass
class Watch:
    """While inside, every sign of the namespace is noted with the time at which it was first seen."""

    kubeconfig: Path
    context: str
    namespace: str
    seen: dict[str, float] = field(default_factory=dict)
    since: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _heard: set[tuple[str, str, str]] = field(default_factory=set)

    def __enter__(self) -> Watch:
        for kind in WATCHED:
            threading.Thread(target=self._follow, args=(kind,), name=f"watch-{kind}", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def begin(self) -> None:
        """What was seen before is forgotten; pods made before do not count."""
        self.since, self.seen = time.time(), {}

    def first(self, pattern: str) -> float | None:
        """When a sign of this pattern was first seen."""
        return min((at for sign, at in list(self.seen.items()) if re.match(pattern, sign)), default=None)

    def times(self, pattern: str) -> list[float]:
        """When each sign of this pattern was first seen, in order."""
        return sorted(at for sign, at in list(self.seen.items()) if re.match(pattern, sign))

    def _follow(self, kind: str) -> None:
        client = self._client()
        where, pause = _KINDS[kind], 0.05
        url = f"{client.configuration.host}/{where.api}/namespaces/{self.namespace}/{where.plural}?watch=true"
        while not self._over.is_set():
            try:
                answer = client.rest_client.pool_manager.request("GET", url, preload_content=False, retries=False)
                pending, pause = b"", 0.05 if answer.status == 200 else 1.0
                for chunk in answer.stream(16384):
                    at = time.time()
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in filter(None, lines):
                        self._note(kind, json.loads(line), at)
            except Exception as error:  # a paused node, a watch that the server ended: it is begun again
                del error
            time.sleep(pause)

    def _listen(self, pod: str, container: str) -> None:
        """Every line of the container's log is a sign, from its first one on."""
        client = self._client()
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?container={container}&follow=true"
        since = self.since
        with suppress(Exception):  # the pod is gone
            answer = client.rest_client.pool_manager.request(
                "GET", client.configuration.host + path, preload_content=False, retries=False
            )
            pending = b""
            for chunk in answer.stream(4096):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines if since == self.since and not self._over.is_set() else ():
                    self.seen.setdefault(f"log pod/{pod} {container}: {line.decode(errors='replace')}", time.time())

    def _client(self) -> Any:
        client: Any = new_client_from_config(  # type: ignore[no-untyped-call]
            str(self.kubeconfig), context=self.context, persist_config=False
        )
        client.configuration.proxy = None
        return client

    def _note(self, kind: str, message: Object, at: float) -> None:
        obj = message.get("object") or {}
        if message.get("type") not in ("ADDED", "MODIFIED") or "metadata" not in obj:
            return
        if kind == "Pod" and _born(obj) + 1 < self.since:
            return
        if kind == "Event" and _last(obj) + 1 < self.since:
            return
        for sign in signs(kind, obj):
            self.seen.setdefault(sign, at)
        for status in (obj.get("status") or {}).get("containerStatuses") or () if kind == "Pod" else ():
            run = (obj["metadata"]["name"], status["name"], status.get("containerID"))
            if (status.get("state") or {}).get("running") and not status.get("ready") and run not in self._heard:
                self._heard.add(run)
                threading.Thread(target=self._listen, args=run[:2], daemon=True).start()


def _born(obj: Object) -> float:
    from deployer.status.objects import epoch

    return epoch(obj["metadata"].get("creationTimestamp")) or time.time()


def _last(obj: Object) -> float:
    from deployer.status.objects import event_time

    return event_time(obj) or time.time()
