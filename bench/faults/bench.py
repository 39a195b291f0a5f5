"""The application on its cluster, broken and put right again, one fault after the other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.faults.model import NAMESPACE, RELEASE, Fault
from bench.faults.table import HOST_ONLY_TAG, IMAGE, STALLED
from deployer.core.values import overlaid
from tests.cluster import PROFILE
from tests.e2e.project import Object, Project

OVERLAY = "todo-deploy.local.yaml"
_REGISTRY_NAMESPACE = "todo-faults-registry"
# The documented requests do not leave room for a surge beside everything else on two cores.
_REQUESTS = {
    "backend": {"cpu": "100m", "memory": "192Mi"},
    "frontend-web": {"cpu": "50m", "memory": "96Mi"},
    "frontend-chatbot": {"cpu": "50m", "memory": "64Mi"},
}
BASE: Mapping[str, Any] = {
    "namespace": NAMESPACE,
    "releases": {RELEASE: {"values": {name: {"resources": {"requests": one}} for name, one in _REQUESTS.items()}}},
}

# Speaks as much of the registry's protocol as a pull that fails asks for.
_REGISTRY = """\
import http.server
class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.rstrip("/") == "/v2":
            status, body = 200, b"{}"
        elif self.path.startswith("/v2/denied/"):
            status, body = 403, b'{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}'
        else:
            status, body = 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
http.server.ThreadingHTTPServer(("", 5999), Registry).serve_forever()
"""


@dataclass
class TimedEvent:
    """One event of the program's own stream, and when its line arrived here."""

    at: float
    event: Object


@dataclass
class Run:
    """One `up`: when it began, every event that it reported, and how it ended."""

    began: float
    events: list[TimedEvent] = field(default_factory=list)
    exit_code: int = -1
    ended: float = 0.0
    noise: list[str] = field(default_factory=list)
    document: Object = field(default_factory=dict)

    def of(self, kind: str) -> Iterator[TimedEvent]:
        """Its events of one type."""
        return (one for one in list(self.events) if one.event["type"] == kind)


@dataclass
class Bench:
    """A copy of the repository, deployed into a namespace of its own, and what it was deployed with."""

    project: Project
    base: Mapping[str, Any] = field(default_factory=lambda: BASE)
    images: dict[str, str] = field(default_factory=dict)
    urls: list[str] = field(default_factory=list)

    def deploy(
        self,
        *words: str,
        overlay: Mapping[str, Any] | None = None,
        started: Callable[[Run], None] = lambda run: None,
        on_event: Callable[[TimedEvent], None] = lambda timed: None,
    ) -> Run:
        """An `up` in the copy with this overlay ran to its end, its events timed as they arrived."""
        text = json.dumps(overlaid(self.base, overlay or {}), indent=1)
        for name, ref in self.images.items():
            text = text.replace(IMAGE.replace("backend", name), ref)
        (self.project.root / OVERLAY).write_text(text)
        run = Run(time.time())
        process = self.project.process("up", "--progress", "json", "-o", "json", *words)
        started(run)
        output: list[str] = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout or ()), daemon=True)
        reader.start()
        try:
            for line in process.stderr or ():
                at = time.time()
                try:
                    run.events.append(TimedEvent(at, json.loads(line)))
                    on_event(run.events[-1])
                except ValueError:
                    run.noise.append(line.rstrip())
            run.exit_code = process.wait(30)
        except BaseException:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
            raise
        run.ended = time.time()
        reader.join(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        run.document = json.loads("".join(output) or "{}")
        if run.exit_code == 0:
            data = run.document["data"]
            self.images |= {one["name"]: one["ref"] for one in data["images"]}
            self.urls = [one["url"].rstrip("/") for one in data["urls"] if one["name"] in ("web", "chatbot")]
        return run

    def heal(self) -> Run:
        """The application is as it was; an error otherwise, with everything that the run said."""
        run = self.deploy("--hold", "0s")
        if run.exit_code != 0:
            raise RuntimeError(f"the application cannot be put right (exit code {run.exit_code}):\n{tail(run)}")
        return run

    def empty(self) -> None:
        """Nothing of the application is on the cluster, its data neither, nor what another test has left of it."""
        for overlay in ({}, self.base):
            (self.project.root / OVERLAY).write_text(json.dumps(overlay))
            done = self.project.run("down", "--volumes", "--yes")
            if done.returncode != 0:
                raise RuntimeError(f"`down` ended with {done.returncode}:\n{done.stderr[-3000:]}")

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[None]:
        """While inside, sources and cluster are as the fault has them (its values come with `deploy`)."""
        before: dict[Path, str | None] = {}
        away: list[Object] = []
        try:
            if fault.settled:
                self._settle()
            for name, edit in fault.files.items():
                path = self.project.root / name
                before[path] = path.read_text() if path.exists() else None
                path.write_text(edit(before[path] or ""))
            for one in fault.without:
                if kept := self.project.kubectl("get", one, "--ignore-not-found", "-o", "json").strip():
                    away.append(_bare(json.loads(kept)))
                    self.project.kubectl("delete", one)
            for words in fault.before:
                self.project.kubectl(*words)
            yield
        finally:
            for words in fault.after:
                self.project.kubectl(*words)
            for at, body in enumerate(away):
                path = self.project.home / f"away-{at}.json"
                path.write_text(json.dumps(body))
                self.project.kubectl("create", "-f", str(path))
            for path, text in before.items():
                if text is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_text(text)

    def _settle(self) -> None:
        """No pod of the application is terminating."""
        deadline = time.monotonic() + 60
        marks = "jsonpath={.items[*].metadata.deletionTimestamp}"
        while self.project.kubectl("get", "pods", "-n", NAMESPACE, "-o", marks).strip():
            if time.monotonic() > deadline:
                raise TimeoutError("pods of the application are still terminating after a minute")
            time.sleep(0.5)

    def prepare(self) -> None:
        """What some faults need is there: a registry that has nothing, an image in the host's daemon only."""
        docker, ref = str(self.project.toolchain.docker), self.images["backend"]
        host_image = _quiet([docker, "image", "ls", "--quiet"]).split()
        if host_image:
            _quiet([docker, "tag", host_image[0], f"{ref.rpartition(':')[0]}:{HOST_ONLY_TAG}"])
        pod = {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _REGISTRY_NAMESPACE}},
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": "registry", "namespace": _REGISTRY_NAMESPACE},
                    "spec": {
                        "hostNetwork": True,
                        "terminationGracePeriodSeconds": 0,
                        "containers": [
                            {"name": "registry", "image": ref, "command": ["python", "-c", _REGISTRY],
                             "imagePullPolicy": "Never"}
                        ],
                    },
                },
            ],
        }  # fmt: skip
        path = self.project.home / "registry.json"
        path.write_text(json.dumps(pod))
        self.project.kubectl("apply", "-f", str(path))
        self.project.kubectl(
            "wait", "-n", _REGISTRY_NAMESPACE, "--for=condition=Ready", "pod/registry", "--timeout=60s"
        )

    def leave(self) -> None:
        """Nothing of ours is left on the cluster, nor in the host's daemon."""
        self.empty()
        self.project.kubectl("delete", "namespace", _REGISTRY_NAMESPACE, NAMESPACE, "--ignore-not-found", "--wait=true")
        self.project.kubectl("delete", "-f", str(STALLED), "--ignore-not-found")
        if "backend" in self.images:
            ref = f"{self.images['backend'].rpartition(':')[0]}:{HOST_ONLY_TAG}"
            _quiet([str(self.project.toolchain.docker), "image", "rm", ref])


def tail(run: Run, count: int = 12) -> str:
    """The last things that a run said."""
    errors = json.dumps(run.document.get("errors"), indent=1)
    return "\n".join([errors, *run.noise[-count:], *(json.dumps(one.event)[:600] for one in run.events[-count:])])


def node_paused(docker: str, seconds: float) -> None:
    """The cluster's node stood still for so long."""
    for left in (2, 1, 0):
        done = subprocess.run([docker, "pause", PROFILE], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode == 0:
            break
        assert left, done.stderr  # a busy kernel may not freeze all of a node's processes at the first try
    try:
        time.sleep(seconds)
    finally:
        subprocess.run([docker, "unpause", PROFILE], check=True, capture_output=True, timeout=30)


def _bare(body: Object) -> Object:
    metadata = {key: value for key, value in body["metadata"].items() if key in ("name", "namespace", "labels")}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def _quiet(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout
