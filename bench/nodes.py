"""A Minikube profile of two nodes: both Ready, pods and images on both, traffic between them, pods that are spread
beside other people's, one node lost, and the default application on it.

    python -m bench.nodes [--keep] [traffic|spread|lost|whole …]

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

from bench.registry import private, whole
from bench.report import recorded
from deployer.composition import open_cluster, open_images, open_kube, this_machine
from deployer.config.spec import Cluster
from deployer.core.ports import ClusterFacts, KubePort
from deployer.status.objects import condition, dig, is_ready, labels_of, name_of
from deployer.toolchain import Toolchain, locate_toolchain

PROFILE = os.environ.get("TODO_DEPLOY_NODES_PROFILE") or "todo-deploy-nodes"
REQUESTS = 500
PARTS = ("traffic", "spread", "lost", "whole")
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
CONTEXT = "team-two"
SPREAD_SPEC = f"""\
apiVersion: todo-deploy/v1
application: spread
namespace: spread
cluster: {{provider: context, context: {CONTEXT}}}
rollout: {{hold: 2s}}
images:
  where: {{repository: spread, version: 1.0.0, context: ., bases: {{PYTHON_IMAGE: python:3.11-slim}}}}
releases:
  where:
    chart: chart
    images: {{where: {{image: "{{ref}}"}}}}
    values: {{nodePort: 30091, apart: 2}}
urls:
  where: {{service: where, nodePort: 30091}}
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
    "values.yaml": 'image: ""\nnodePort: 30090\ncpu: 20m\n',
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
          resources: {requests: {cpu: {{ .Values.cpu }}, memory: 32Mi}, limits: {cpu: "1", memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: where}
spec: {type: NodePort, selector: {app: where}, ports: [{port: 80, targetPort: 8080, nodePort: {{ .Values.nodePort }}}]}
""",
}
APART = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: apart, labels: {app: apart}}
spec:
  replicas: {{ .Values.apart }}
  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  selector: {matchLabels: {app: apart}}
  template:
    metadata: {labels: {app: apart}}
    spec:
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: apart}}}
      containers:
        - name: apart
          image: {{ .Values.image }}
          imagePullPolicy: Never
          ports: [{containerPort: 8080}]
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2, timeoutSeconds: 5}
          resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
"""
OTHERS = """\
apiVersion: v1
kind: Namespace
metadata: {name: others}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: theirs, namespace: others}
spec:
  replicas: 2
  selector: {matchLabels: {app: theirs}}
  template:
    metadata: {labels: {app: theirs}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
           labelSelector: {matchLabels: {app: theirs}}}
      containers:
        - name: theirs
          image: IMAGE
          imagePullPolicy: Never
          resources: {requests: {cpu: 800m, memory: 16Mi}}
"""
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
    """An `up` of the folder, or what else is asked for, the events that it reports on standard error while it runs, and
    how it ended."""

    def __init__(self, root: Path, *words: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.begun = time.monotonic()
        argv = [sys.executable, "-m", "deployer", *(words or ("up",)), "--progress", "json", "--yes"]
        env = environment(root)
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


def environment(root: Path) -> dict[str, str]:
    """That of a command in the folder, which may have a kubeconfig of its own."""
    own = {"KUBECONFIG": str(root / "kubeconfig")} if (root / "kubeconfig").exists() else {}
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **own}


def write(root: Path, delay: int, spec: str = SPEC, **more: str) -> None:
    """The folder has the application, whose image is another one for each delay of its start in seconds."""
    dockerfile = DOCKERFILE + f"ENV DELAY={delay}\n"
    for name, text in {"todo-deploy.yaml": spec, "Dockerfile": dockerfile, "server.py": SERVER,
                       **{f"chart/{name}": text for name, text in CHART.items()},
                       **{f"chart/templates/{name}.yaml": text for name, text in more.items()}}.items():  # fmt: skip
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


def asked(root: Path, *words: str) -> None:
    """A row for a command that only looks, while a node is lost: its exit code, and what it says of the node."""
    argv = [sys.executable, "-m", "deployer", *words, "--yes"]
    begun = time.monotonic()
    done = subprocess.run(argv, cwd=root, env=environment(root), capture_output=True, text=True, timeout=300)
    lines = (done.stdout + done.stderr).splitlines()
    said = next((" ".join(line.split()) for line in lines if f"{PROFILE}-m02" in line), "nothing of the node")
    row(f"`{' '.join(words)}` meanwhile", f"exit {done.returncode}; {said}", f"{time.monotonic() - begun:.1f}")


def acted(root: Path, what: str, *words: str) -> int:
    """A row for a command that changes something: its exit code, and what it warned of and failed with."""
    ran = Up(root, *words)
    code, seconds = ran.end()
    row(what, f"exit {code}; {'; '.join(dict.fromkeys(ran.problems())) or 'no problems'}", f"{seconds:.0f}")
    return code


def made(root: Path) -> KubePort:
    """The profile, with the application of the folder on it."""
    write(root, 0)
    first = Up(root)
    first.until("stage_finished", "toolchain")
    tools()  # before another checkout on this machine makes its own ready
    code, seconds = first.end()
    kube = open_kube(this_machine(), WANTED)
    row("`up` from nothing", f"exit {code}; Ready: {nodes(kube)}", f"{seconds:.0f}")
    row("Kubernetes", kube.version(), "")
    return kube


def traffic(root: Path, kube: KubePort) -> None:
    """Pods and images on both nodes, and traffic between them."""
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


def kubectl(*words: str, text: str = "") -> str:
    """What kubectl says of the profile."""
    argv = [str(tools().kubectl), "--context", PROFILE, *words]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=True, timeout=600)
    return str(done.stdout)


def as_context(root: Path) -> None:
    """The folder has a kubeconfig in which nothing says what made the cluster."""
    config = json.loads(kubectl("config", "view", "--flatten", "--minify", "-o", "json"))
    (cluster,), (user,) = config["clusters"], config["users"]
    cluster["cluster"].pop("extensions", None)
    config["contexts"] = [{"name": CONTEXT, "context": {"cluster": cluster["name"], "user": user["name"]}}]
    config["current-context"] = ""
    root.mkdir(parents=True, exist_ok=True)
    private(root / "kubeconfig", json.dumps(config))


def spread(root: Path, kube: KubePort) -> None:
    """Through a context, beside other people's pods: topology spread constraints and a pod anti-affinity."""
    names = {name for node in kube.list("Node") for one in node["status"]["images"] for name in one["names"]}
    pause = next(name for name in sorted(names) if "/pause:" in name)
    kubectl("apply", "-f", "-", text=OTHERS.replace("IMAGE", pause))
    kubectl("-n", "others", "rollout", "status", "deployment/theirs", "--timeout", "60s")
    theirs = sorted(str(dig(pod, "metadata", "uid")) for pod in kube.list("Pod", "others"))
    row("other people's pods", placed(kube, "others"), "")
    as_context(root)
    write(root, 0, SPREAD_SPEC, apart=APART)
    acted(root, "a context, `up`", "up")
    for name in ("where", "apart"):
        row(f"pods of {name}", counted(str(dig(pod, "spec", "nodeName")) for pod in kube.list("Pod", "spread")
                                       if is_ready(pod) and labels_of(pod).get("app") == name), "")  # fmt: skip
    acted(root, "a context, `up` again", "up")
    acted(root, "`up` with 3 pods apart on 2 nodes", "up", "--set", "releases.where.values.apart=3")
    acted(root, "`up` that does not fit beside others' pods", "up", "--set", "releases.where.values.cpu=600m")
    left = sorted(str(dig(pod, "metadata", "uid")) for pod in kube.list("Pod", "others"))
    row("other people's pods after it", "the same" if left == theirs else "others", "")


def lose() -> None:
    """m02 is stopped."""
    subprocess.run([tools().docker, "stop", "--time", "1", f"{PROFILE}-m02"], capture_output=True, check=True)


def lost(root: Path, kube: KubePort, other: Path | None) -> None:
    """m02 is stopped when a rollout begins; what each command says until it is back, and that all is repaired."""
    write(root, 1)
    acted(root, "`up` of a change", "up")
    write(root, 15)
    broken = Up(root)
    if not broken.until("stage_started", "rollout"):
        raise SystemExit(f"no rollout began: {broken.problems()}")
    stopped = time.monotonic()
    lose()
    code, _ = broken.end()
    named = "; ".join(dict.fromkeys(broken.problems()))
    row("m02 stopped when the rollout of a change began", f"exit {code}; {named}", f"{time.monotonic() - stopped:.0f}")
    for words in (["status"], ["plan"], ["doctor"], ["images", "list"], ["images", "prune"]):
        asked(root, *words)
    if other is not None:
        asked(other, "status")
        write(other, 1, SPREAD_SPEC, apart=APART)
        acted(other, "a context: `up` of a change meanwhile", "up")
        acted(other, "a context: `down` meanwhile", "down")
    acted(root, "`rollback` meanwhile, which starts the node", "rollback")
    lose()
    acted(root, "m02 stopped again: `down`", "down")
    mended = Up(root)
    code, seconds = mended.end()
    row("`up` again", f"exit {code}; Ready: {nodes(kube)}; {placed(kube)}; image: {images()}", f"{seconds:.0f}")
    if other is not None:
        acted(other, "a context: `up` again", "up")
        row("its pods", placed(kube, "spread"), "")
        acted(other, "a context: `down`", "down", "--volumes")


def whole_application(root: Path) -> None:
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
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="default: all")
    parser.add_argument("--keep", action="store_true", help="do not delete the profile in the end")
    asked = parser.parse_args(argv)
    parts = asked.parts or PARTS
    whole_run = not asked.parts
    with tempfile.TemporaryDirectory() as folder, recorded("nodes", "Two nodes", "make nodes", whole=whole_run):
        where, other = Path(folder, "where"), Path(folder, "spread")
        try:
            row("what", "seen", "s")
            row("---", "---", "---:")
            kube = made(where)
            if "traffic" in parts:
                traffic(where, kube)
            if "spread" in parts:
                spread(other, kube)
            if "lost" in parts:
                lost(where, kube, other if "spread" in parts else None)
            if "whole" in parts:
                whole_application(Path(folder, "todo"))
        finally:
            if not asked.keep:
                for _ in open_cluster(this_machine(), WANTED, tools()).delete():
                    pass


if __name__ == "__main__":
    main()
