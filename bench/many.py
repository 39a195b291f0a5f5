"""Thirty small services of one image in two releases, for real: the first `up`, one without a change, one change.

As many as a node of two CPUs takes beside its own pods; `python -m bench.watching` goes on from there without pods.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from bench.commands import Cost, run
from bench.report import recorded

APP = Path(__file__).parent / "app"
PROFILE = os.environ.get("TODO_DEPLOY_TEST_PROFILE") or "todo-deploy-test"
SERVICES, RELEASES = 30, ("left", "right")
_SPEC = """\
apiVersion: todo-deploy/v1
application: bench-many
namespace: bench-many
cluster: {{name: {profile}}}
images:
  server: {{repository: bench-server, version: 1.0.0, context: server, bases: {{PYTHON_IMAGE: python:3.11-slim}}}}
releases:
"""
_RELEASE = """\
  {name}:
    chart: {name}
    images: {{server: {{image.repository: "{{repository}}", image.tag: "{{tag}}"}}}}
    values: {{greeting: hello}}
"""
_CHART = """\
{{- range $number := until (int .Values.count) }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: "{{ $.Release.Name }}-{{ $number }}", labels: {app: "{{ $.Release.Name }}-{{ $number }}"}}
spec:
  selector: {matchLabels: {app: "{{ $.Release.Name }}-{{ $number }}"}}
  template:
    metadata:
      labels: {app: "{{ $.Release.Name }}-{{ $number }}"}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: server
          image: "{{ $.Values.image.repository }}:{{ $.Values.image.tag }}"
          env: [{name: GREETING, value: {{ if eq $number 0 }}{{ $.Values.greeting | quote }}{{ else }}hello{{ end }}}]
          readinessProbe: {httpGet: {path: /, port: 8000}, initialDelaySeconds: 1, periodSeconds: 2, timeoutSeconds: 2}
          resources: {requests: {cpu: 2m, memory: 16Mi}, limits: {cpu: 500m, memory: 64Mi}}
{{- end }}
"""


def application(folder: Path) -> None:
    """The application's sources, charts and spec are in the folder."""
    shutil.copytree(APP / "server", folder / "server")
    for name in RELEASES:
        (folder / name / "templates").mkdir(parents=True)
        (folder / name / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n")
        values = f"count: {SERVICES // len(RELEASES)}\ngreeting: hello\nimage: {{repository: '', tag: ''}}\n"
        (folder / name / "values.yaml").write_text(values)
        (folder / name / "templates" / "all.yaml").write_text(_CHART)
    spec = _SPEC.format(profile=PROFILE) + "".join(_RELEASE.format(name=name) for name in RELEASES)
    (folder / "todo-deploy.yaml").write_text(spec)


def row(step: str, found: Cost) -> str:
    """A row of Markdown."""
    cells = (
        step, f"{found.seconds:.1f}", f"{found.requests}", f"{found.requests / found.seconds:.1f}",
        f"{100 * found.cpu / found.seconds:.0f} %", f"{found.memory:.0f}", f"{found.processes}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """The table is printed, and nothing of the application is left."""
    up = ("up", "--progress", "plain", "--hold", "0s")
    steps = {"first `up`": (), "nothing changed": (), "one value of one service": ("releases.left.values.greeting=hi",)}
    with recorded("many", "Thirty services in two releases", "python -m bench.many"):
        print("| step | seconds | requests | a second | share of one core | MiB | processes |\n" + "|---" * 7 + "|")
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            application(folder)
            try:
                for step, values in steps.items():
                    words = [word for value in values for word in ("--set", value)]
                    print(row(step, run((*up, *words), folder)), flush=True)
            finally:
                run(("down", "--volumes", "--yes"), folder)


if __name__ == "__main__":
    main()
