"""A Minikube profile of two nodes: both Ready, pods and images on both, traffic between them, one lost in a rollout,
and the default application on it.

    python -m bench.nodes [--keep]

Makes the profile `todo-deploy-nodes` (2 nodes of 4 GiB) and deletes it in the end, unless it is to be kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from bench.registry import whole
from bench.report import recorded
from deployer.composition import open_cluster, open_images, open_kube, this_machine
from deployer.config.spec import Cluster
from deployer.core.ports import ClusterFacts, KubePort
from deployer.status.objects import condition, dig, is_ready, name_of
from deployer.toolchain import Toolchain, locate_toolchain

PROFILE = os.environ.get("TODO_DEPLOY_NODES_PROFILE") or "todo-deploy-nodes"
REQUESTS = 500
WANTED = Cluster(name=PROFILE, nodes=2, cpus=2, memory="4g")
SPEC = f"""\
apiVersion: todo-deploy/v1
application: where
namespace: where
cluster: {{name: {PROFILE}, nodes: 2, cpus: 2, memory: 4g}}
images:
  where: {{repository: where, version: 1.0.0, context: ., bases: {{PYTHON_IMAGE: python:3.11-slim}}}}
releases:
  where: {{chart: chart, images: {{where: {{image: "{{ref}}"}}}}}}
urls:
  where: {{service: where, nodePort: 30090}}
"""
DOCKERFILE = """\
ARG PYTHON_IMAGE=python:3.11-slim
FROM ${PYTHON_IMAGE}
COPY server.py /server.py
USER 1001
CMD ["python3", "-u", "/server.py"]
"""
SERVER = """\
import http.server, os, signal, threading, time

time.sleep(float(os.environ.get("DELAY", 0)))

class Here(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = os.environ["NODE"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("", 8080), Here)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"""
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: where\nversion: 0.1.0\n",
    "values.yaml": 'image: ""\n',
    "templates/all.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: where, labels: {app: where}}
spec:
  replicas: 4
  selector: {matchLabels: {app: where}}
  template:
    metadata: {labels: {app: where}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: where}}
          matchLabelKeys: [pod-template-hash]
      containers:
        - name: where
          image: {{ .Values.image }}
          imagePullPolicy: Never
          ports: [{containerPort: 8080}]
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2, timeoutSeconds: 5}
          resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: where}
spec: {type: NodePort, selector: {app: where}, ports: [{port: 80, targetPort: 8080, nodePort: 30090}]}
""",
}
ASK = f"""\
import collections, urllib.request
seen = collections.Counter()
for _ in range({REQUESTS}):
    try:
        with urllib.request.urlopen("http://where.where/", timeout=10) as answer:
            seen[answer.read().decode()] += 1
    except OSError:
        seen["failed"] += 1
print(" ".join(f"{{key}}={{value}}" for key, value in sorted(seen.items())))
"""


class Up:
    """An `up` of the folder, the events that it reports on standard error while it runs, and how it ended."""

    def __init__(self, root: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.begun = time.monotonic()
        argv = [sys.executable, "-m", "deployer", "up", "--progress", "json", "--yes"]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        self._process = subprocess.Popen(
            argv, cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def until(self, kind: str = "", stage: str = "") -> bool:
        """It has reported that of the stage; False where it has ended without."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with suppress(ValueError):  # what Python itself writes there
                self.events.append(json.loads(line))
                if (self.events[-1].get("type"), self.events[-1].get("stage")) == (kind, stage):
                    return True
        return False

    def end(self) -> tuple[int, float]:
        """Its exit code and seconds."""
        self.until()
        return self._process.wait(), time.monotonic() - self.begun

    def proven(self) -> str:
        """The URLs that answered as they must."""
        return ", ".join(dict.fromkeys(one["url"] for one in self.events if one["type"] == "url_proven"))

    def problems(self) -> list[str]:
        """What it warned of and failed with."""
        found = [one["problem"] for one in self.events if "problem" in one]
        found += [one for event in self.events for one in event.get("problems") or ()]
        return [f"{one['code']}: {one['title']}" for one in found if one["code"] not in ("ADVICE", "FIRST_RUN")]


def write(root: Path, delay: int) -> None:
    """The folder has the application, whose image is another one for each delay of its start in seconds."""
    dockerfile = DOCKERFILE + f"ENV DELAY={delay}\n"
    for name, text in {"todo-deploy.yaml": SPEC, "Dockerfile": dockerfile, "server.py": SERVER,
                       **{f"chart/{name}": text for name, text in CHART.items()}}.items():  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def row(*cells: object) -> None:
    """A row of the table."""
    print("| " + " | ".join(str(one) for one in cells) + " |", flush=True)


@cache
def tools() -> Toolchain:
    """Those that `up` has made ready."""
    found = locate_toolchain("auto", this_machine().cache_dir)
    assert found is not None
    return found


def facts() -> ClusterFacts:
    """The profile as it stands."""
    return open_cluster(this_machine(), WANTED, tools()).facts()


def placed(kube: KubePort, namespace: str = "where") -> str:
    """How many pods that are ready each node has."""
    pods = [pod for pod in kube.list("Pod", namespace) if is_ready(pod)]
    return counted(str(dig(pod, "spec", "nodeName")) for pod in pods)


def counted(names: Any) -> str:
    """How often each is there."""
    return ", ".join(f"{count} on {name}" for name, count in sorted(Counter(names).items()))


def nodes(kube: KubePort) -> str:
    """Each node, and whether it is Ready."""
    return ", ".join(f"{name_of(one)} {condition(one, 'Ready').get('status')}" for one in kube.list("Node"))


def inside(pod: str, program: str) -> str:
    """What the Python program prints in the pod."""
    words = [str(tools().kubectl), "--context", PROFILE, "-n", "where", "exec", pod, "--", "python3", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=600)
    return str(done.stdout).strip()


def images() -> str:
    """How many ids the application's newest image has in the nodes' daemons."""
    daemons = [open_images(one) for one in facts().daemons.values()]
    refs = {ref for one in daemons for ref in one.refs() if ref.startswith("where:")}
    ids = [{found.id if (found := one.image(ref)) else "lacking" for one in daemons} for ref in sorted(refs)]
    return f"{len(refs)} in {len(daemons)} nodes, {'the same ids' if all(len(one) == 1 for one in ids) else ids}"


def measure(root: Path) -> None:
    """Every line of the table."""
    row("what", "seen", "s")
    row("---", "---", "---:")
    write(root, 0)
    first = Up(root)
    first.until("stage_finished", "toolchain")
    tools()  # before another checkout on this machine makes its own ready
    code, seconds = first.end()
    kube = open_kube(this_machine(), WANTED)
    row("`up` from nothing", f"exit {code}; Ready: {nodes(kube)}", f"{seconds:.0f}")
    row("pods of one Deployment", placed(kube), "")
    row("its image", images(), "")
    ready = {str(dig(pod, "spec", "nodeName")): name_of(pod) for pod in kube.list("Pod", "where") if is_ready(pod)}
    for node, pod in sorted(ready.items()):
        row(f"{REQUESTS} requests to the Service from a pod on {node}", f"answered by {inside(pod, ASK)}", "")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for one in kube.list("Node"):
        address = next(each["address"] for each in one["status"]["addresses"] if each["type"] == "InternalIP")
        with opener.open(f"http://{address}:30090/", timeout=10) as answer:
            row(f"the NodePort at {name_of(one)}", f"{answer.status}", "")
    code, seconds = Up(root).end()
    row("`up` again", f"exit {code}", f"{seconds:.1f}")
    write(root, 15)
    broken = Up(root)
    if not broken.until("stage_started", "rollout"):
        raise SystemExit(f"no rollout began: {broken.problems()}")
    stopped = time.monotonic()
    subprocess.run([tools().docker, "stop", "--time", "1", f"{PROFILE}-m02"], capture_output=True, check=True)
    code, _ = broken.end()
    named = "; ".join(dict.fromkeys(broken.problems()))
    row("m02 stopped when the rollout of a change began", f"exit {code}; {named}", f"{time.monotonic() - stopped:.0f}")
    mended = Up(root)
    code, seconds = mended.end()
    row("`up` again", f"exit {code}; Ready: {nodes(kube)}; {placed(kube)}; image: {images()}", f"{seconds:.0f}")


def measure_whole(root: Path) -> None:
    """The default application on both nodes."""
    cluster = WANTED.model_dump(include={"name", "nodes", "cpus", "memory"})
    first = Up(whole(root, {"cluster": cluster, "namespace": "todo", "rules": {"allow": ["NAMESPACE"]}}))
    code, seconds = first.end()
    kube = open_kube(this_machine(), WANTED)
    seen = f"exit {code}; {placed(kube, 'todo')}; proven: {first.proven() or '; '.join(first.problems())}"
    row("the default application", seen, f"{seconds:.0f}")
    again = Up(root)
    code, seconds = again.end()
    row("`up` again", f"exit {code}; proven: {again.proven()}", f"{seconds:.1f}")


def main(argv: Sequence[str] | None = None) -> None:
    """The table, in bench/results/nodes.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="do not delete the profile in the end")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, recorded("nodes", "Two nodes", "make nodes"):
        try:
            measure(Path(folder, "where"))
            measure_whole(Path(folder, "todo"))
        finally:
            if not asked.keep:
                for _ in open_cluster(this_machine(), WANTED, tools()).delete():
                    pass


if __name__ == "__main__":
    main()
