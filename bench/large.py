"""An application of 200 workloads and 2,000 pods on hollow nodes, by a script and by todo-deploy: the first deploy,
again without a change, one value of one workload.

The control plane is real, and so are Helm and the tools; the pods are only said to run (`bench.hollow`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.commands import Cost, run
from bench.hollow import LABEL
from bench.race import BASE, Ground
from bench.report import recorded
from deployer.composition import this_machine
from deployer.toolchain import locate_toolchain

APP = Path(__file__).parent / "app"
PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"
WORKLOADS, PODS, RELEASES, NODES = 200, 2000, ("left", "right"), 4
NAMESPACE = "bench-large"
_SPEC = f"""\
apiVersion: todo-deploy/v1
application: {NAMESPACE}
namespace: {NAMESPACE}
cluster: {{name: {PROFILE}}}
images:
  server: {{repository: bench-server, version: 1.0.0, context: server, bases: {{PYTHON_IMAGE: {BASE}}}}}
rollout: {{timeout: 20m}}
releases:
"""
_RELEASE = """\
  {name}:
    chart: {name}
    images: {{server: {{image: "{{ref}}"}}}}
    values: {{greeting: hello}}
"""
_CHART = """\
{{- range $number := until (int .Values.count) }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ $.Release.Name }}-{{ $number }}", labels: {app: "{{ $.Release.Name }}-{{ $number }}"}}
spec:
  replicas: {{ $.Values.replicas }}
  selector: {matchLabels: {app: "{{ $.Release.Name }}-{{ $number }}"}}
  template:
    metadata:
      labels: {app: "{{ $.Release.Name }}-{{ $number }}"}
    spec:
      nodeSelector: {HOLLOW: "true"}
      tolerations: [{key: HOLLOW, operator: Exists}]
      containers:
        - name: server
          image: {{ $.Values.image }}
          imagePullPolicy: IfNotPresent
          env: [{name: GREETING, value: {{ if eq $number 0 }}{{ $.Values.greeting | quote }}{{ else }}hello{{ end }}}]
          readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 2}
          resources: {requests: {cpu: 2m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi}}
{{- end }}
""".replace("HOLLOW", LABEL)
_SCRIPT = f"""\
set -euo pipefail
eval "$(minikube --profile "$PROFILE" docker-env)"
server=$(docker build --quiet ${{PYTHON_IMAGE:+--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE"}} server)
docker tag "$server" "bench-server:${{server:7:12}}"
kubectl --context "$PROFILE" create namespace {NAMESPACE} --dry-run=client -o yaml |
  kubectl --context "$PROFILE" apply -f - > /dev/null
greeting=${{1:-hello}}
for release in {" ".join(RELEASES)}; do
  helm upgrade --install "$release" "$release" --kube-context "$PROFILE" --namespace {NAMESPACE} \\
    --wait --timeout 20m --set "image=bench-server:${{server:7:12}}" --set "greeting=$greeting" > /dev/null
  greeting=hello
done
"""


def application(folder: Path) -> None:
    """The application's sources, charts, spec and script are in the folder."""
    shutil.copytree(APP / "server", folder / "server")
    for name in RELEASES:
        (folder / name / "templates").mkdir(parents=True)
        (folder / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n")
        values = f"count: {WORKLOADS // len(RELEASES)}\nreplicas: {PODS // WORKLOADS}\ngreeting: hello\nimage: ''\n"
        (folder / name / "values.yaml").write_text(values)
        (folder / name / "templates" / "all.yaml").write_text(_CHART)
    (folder / "todo-deploy.yaml").write_text(_SPEC + "".join(_RELEASE.format(name=name) for name in RELEASES))
    (folder / "deploy.sh").write_text(_SCRIPT)


@contextmanager
def hollow_nodes() -> Iterator[None]:
    """Inside, the cluster has the nodes."""
    words = [sys.executable, "-m", "bench.hollow", PROFILE, str(NODES)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the hollow nodes do not come up")
            yield
        finally:
            process.terminate()


def remove(ground: Ground) -> None:
    """Nothing of the application is left, pods included."""
    ground.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=15m")


def rolled(before: dict[str, set[str]], after: dict[str, set[str]]) -> int:
    """The workloads of which a pod is another than before."""
    return sum(before.get(name) != uids for name, uids in after.items())


def by_script(ground: Ground, folder: Path) -> list[tuple[float, int]]:
    """Seconds and replaced workloads of each step."""
    steps = []
    for words in ((), (), ("hi",)):
        before, begun = ground.pods(NAMESPACE), time.monotonic()
        ground.run(["bash", "deploy.sh", *words], folder)
        seconds = time.monotonic() - begun
        steps.append((seconds, rolled(before, ground.pods(NAMESPACE))))
    remove(ground)
    return steps


def by_tool(ground: Ground, folder: Path) -> list[tuple[Cost, int]]:
    """What each step cost, and the replaced workloads."""
    steps = []
    for values in ((), (), ("--set", "releases.left.values.greeting=hi")):
        before = ground.pods(NAMESPACE)
        found = run(("up", "--progress", "plain", "--hold", "0s", *values), folder)
        steps.append((found, rolled(before, ground.pods(NAMESPACE))))
    run(("down", "--volumes", "--yes"), folder)
    remove(ground)
    return steps


def row(step: str, script: tuple[float, int], tool: tuple[Cost, int]) -> str:
    """A row of Markdown."""
    found = tool[0]
    cells = (
        step, f"{script[0]:.1f}", f"{script[1]}", f"{found.seconds:.1f}", f"{found.seconds / script[0]:.2f}",
        f"{tool[1]}", f"{found.requests / found.seconds:.1f}", f"{100 * found.cpu / found.seconds:.0f} %",
        f"{found.memory:.0f}", f"{found.processes}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The table is printed, and nothing of the application or of the nodes is left."""
    tools = locate_toolchain("auto", this_machine().cache_dir)
    if tools is None:
        raise SystemExit("no toolchain: run `todo-deploy toolchain install`")
    steps = ("first deploy", "nothing changed", "one value of one workload")
    head = ("step", "script, s", "rolled", "todo-deploy, s", "of the script", "rolled", "requests a second",
            "share of one core", "MiB", "processes")  # fmt: skip
    title = f"{WORKLOADS} workloads, {PODS:,} pods on hollow nodes"
    with recorded("large", title, "python -m bench.large"), tempfile.TemporaryDirectory() as place, hollow_nodes():
        folder = Path(place)
        application(folder)
        ground = Ground(PROFILE, tools, folder)
        try:
            script, tool = by_script(ground, folder), by_tool(ground, folder)
        finally:
            remove(ground)
        print(f"| {' | '.join(head)} |\n" + "|---" * len(head) + "|")
        for one in zip(steps, script, tool, strict=True):
            print(row(*one), flush=True)


if __name__ == "__main__":
    main()
