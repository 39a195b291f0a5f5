"""Shapes of repositories that people have: Dockerfiles and charts in their usual places, and no spec.

Each is written by its makers' habits, not by ours. `todo-deploy init` and `up` must bring it up without an edit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVER = '''\
"""Answers every GET with 200; exits at once without what it needs."""
import http.server, os, sys

for key in os.environ.get("NEEDS", "").split():
    if not os.environ.get(key):
        sys.exit(f"{key} is not set")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ.get('ROLE', 'app')} {self.path}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
'''
WORKER = '''\
"""Works until it is asked to end."""
import signal, time

signal.signal(signal.SIGTERM, lambda *_: exit(0))
while True:
    time.sleep(1)
'''
BASE = "FROM python:3.11-slim\nWORKDIR /srv\n"


def dockerfile(*copied: str, run: str = "server.py", port: str = "EXPOSE 8080\n", head: str = BASE) -> str:
    return head + "".join(f"COPY {one}\n" for one in copied) + f'USER 10001\n{port}CMD ["python", "-u", "{run}"]\n'


def chart(name: str, more: str = "", app_version: str = "1.0.0") -> str:
    return f'apiVersion: v2\nname: {name}\nversion: 0.1.0\nappVersion: "{app_version}"\n{more}'


HTTP = """
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
          livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 5}"""
TCP = """
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}"""


def deployment(name: str, image: str, more: str = HTTP, pod: str = "") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:{pod}
      containers:
        - name: main
          image: {image}
          resources: {{requests: {{cpu: 10m, memory: 24Mi}}, limits: {{cpu: 200m, memory: 96Mi}}}}{more}
"""


def service(name: str, kind: str = "{{ .Values.service.type }}", port: str = "80") -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: {kind}
  selector: {{app: {name}}}
  ports: [{{name: http, port: {port}, targetPort: http}}]
"""


def ingress(name: str, backend: str) -> str:
    return f"""\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: {{{{ .Values.ingress.className }}}}
  rules:
    - host: {{{{ .Values.ingress.host }}}}
      http:
        paths:
          - {{path: /, pathType: Prefix, backend: {{service: {{name: {backend}, port: {{name: http}}}}}}}}
"""


@dataclass(frozen=True)
class Shape:
    """A repository: its files, and what a draft for it must have."""

    files: Mapping[str, str]
    images: tuple[str, ...]
    """The workloads that must run what is built here."""
    urls: int = 1
    """How many addresses must be proven."""
    releases: int = 1
    without: tuple[str, ...] = ()
    """Folders that must not be in the draft."""
    env: Mapping[str, str] = field(default_factory=dict)


_HELM_CREATE = {
    "chart/Chart.yaml": chart("web", app_version="1.16.0"),
    "chart/values.yaml": (
        "replicaCount: 1\nimage:\n  repository: nginx\n  pullPolicy: IfNotPresent\n  tag: \"\"\n"
        "imagePullSecrets: []\nnameOverride: \"\"\nfullnameOverride: \"\"\n"
        "serviceAccount: {create: true, automount: true, annotations: {}, name: \"\"}\n"
        "podAnnotations: {}\npodLabels: {}\nservice: {type: ClusterIP, port: 8080}\n"
        "ingress: {enabled: false, className: \"\", host: chart-example.local}\n"
        "livenessProbe: {httpGet: {path: /, port: http}}\nreadinessProbe: {httpGet: {path: /, port: http}}\n"
    ),
    "chart/templates/_helpers.tpl": '{{- define "web.fullname" -}}{{ .Release.Name }}{{- end }}\n',
    "chart/templates/deployment.yaml": deployment(
        '{{ include "web.fullname" . }}',
        '"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"',
        """
          ports: [{name: http, containerPort: {{ .Values.service.port }}}]
          livenessProbe: {{- toYaml .Values.livenessProbe | nindent 12 }}
          readinessProbe: {{- toYaml .Values.readinessProbe | nindent 12 }}""",
    ),
    "chart/templates/service.yaml": service('{{ include "web.fullname" . }}', port="{{ .Values.service.port }}"),
    "chart/templates/ingress.yaml": "{{- if .Values.ingress.enabled }}\n" + ingress("web", "web") + "{{- end }}\n",
    "chart/templates/tests/test-connection.yaml": (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n"
        "spec: {containers: [{name: wget, image: busybox}], restartPolicy: Never}\n"
    ),
}  # fmt: skip

SHAPES: Mapping[str, Shape] = {
    # A Dockerfile and a chart of `helm create` whose image nobody changed; the env file would be sent with `COPY . .`.
    "root-dockerfile": Shape(
        {"Dockerfile": dockerfile(". ."), "server.py": SERVER, ".env.example": "GREETING=hello\n", **_HELM_CREATE},
        ("deployment/web",),
    ),
    "two-services": Shape(
        {
            "services/api/Dockerfile": dockerfile("server.py ."), "services/api/server.py": SERVER,
            "services/web/Dockerfile": dockerfile("server.py ."), "services/web/server.py": SERVER,
            "deploy/helm/shop/Chart.yaml": chart("shop"),
            "deploy/helm/shop/values.yaml": (
                "api: {image: {repository: ghcr.io/acme/shop-api, tag: 2.1.0}}\n"
                "web: {image: {repository: ghcr.io/acme/shop-web, tag: 2.1.0}, service: {type: LoadBalancer}}\n"
            ),
            "deploy/helm/shop/templates/api.yaml": deployment(
                "{{ .Release.Name }}-api", '"{{ .Values.api.image.repository }}:{{ .Values.api.image.tag }}"')
            + "---\n" + service("{{ .Release.Name }}-api", "ClusterIP"),
            "deploy/helm/shop/templates/web.yaml": deployment(
                "{{ .Release.Name }}-web", '"{{ .Values.web.image.repository }}:{{ .Values.web.image.tag }}"')
            + "---\n" + service("{{ .Release.Name }}-web", "{{ .Values.web.service.type }}"),
        },
        ("deployment/shop-api", "deployment/shop-web"),
    ),
    # Dockerfiles apart from what they build, and pods that nobody asks over HTTP.
    "docker-folder": Shape(
        {
            "docker/api.Dockerfile": dockerfile("src/api/ ."), "docker/worker.Dockerfile":
                dockerfile("src/worker/ .", run="main.py", port=""),
            "src/api/server.py": SERVER, "src/worker/main.py": WORKER,
            "helm/Chart.yaml": chart("orders"),
            "helm/values.yaml": (
                "apiImage: acme/orders-api\nworkerImage: acme/orders-worker\nimageTag: 0.9.1\n"
                "service: {type: ClusterIP}\n"
            ),
            "helm/templates/api.yaml": deployment("orders-api", "{{ .Values.apiImage }}:{{ .Values.imageTag }}", TCP)
            + "---\n" + service("orders-api"),
            "helm/templates/worker.yaml": deployment(
                "orders-worker", "{{ .Values.workerImage }}:{{ .Values.imageTag }}", ""),
        },
        ("deployment/orders-api", "deployment/orders-worker"),
    ),
    # The layout of Go projects: build/ holds the Dockerfile, the root is the context. The registry is under global.
    "build-folder": Shape(
        {
            "build/Dockerfile": dockerfile("cmd ./cmd", run="cmd/server.py"), "cmd/server.py": SERVER,
            "charts/ledger/Chart.yaml": chart("ledger"),
            "charts/ledger/values.yaml": (
                "global: {imageRegistry: registry.example.com, tag: 1.4.0}\nimage: {name: acme/ledger}\n"
                "service: {type: NodePort}\n"
            ),
            "charts/ledger/templates/all.yaml": deployment(
                "ledger", '"{{ .Values.global.imageRegistry }}/{{ .Values.image.name }}:{{ .Values.global.tag }}"')
            + "---\n" + service("ledger"),
        },
        ("deployment/ledger",),
    ),
    # One Dockerfile for all services, by build argument, and a chart that has them in a list.
    "build-argument": Shape(
        {
            "Dockerfile": dockerfile(
                "apps/${SERVICE}/ .", run="server.py", head="FROM python:3.11-slim\nARG SERVICE\nWORKDIR /srv\n"),
            "apps/front/server.py": SERVER, "apps/back/server.py": SERVER, ".dockerignore": ".env\n",
            "chart/Chart.yaml": chart("platform"),
            "chart/values.yaml": (
                "services:\n  - {name: front, image: {repository: acme/front, tag: 1.0.0}, type: NodePort}\n"
                "  - {name: back, image: {repository: acme/back, tag: 1.0.0}, type: ClusterIP}\n"
            ),
            "chart/templates/all.yaml": "{{- range .Values.services }}\n---\n" + deployment(
                "{{ $.Release.Name }}-{{ .name }}", '"{{ .image.repository }}:{{ .image.tag }}"')
            + "---\n" + service("{{ $.Release.Name }}-{{ .name }}", "{{ .type }}") + "{{- end }}\n",
        },
        ("deployment/platform-front", "deployment/platform-back"),
    ),
    # Stages of one Dockerfile, and images that are one text each.
    "stages": Shape(
        {
            "Dockerfile": (
                "FROM python:3.11-slim AS base\nWORKDIR /srv\nUSER 10001\n"
                'FROM base AS api\nCOPY server.py .\nEXPOSE 8080\nCMD ["python", "-u", "server.py"]\n'
                'FROM base AS worker\nCOPY main.py .\nCMD ["python", "-u", "main.py"]\n'
            ),
            "server.py": SERVER, "main.py": WORKER,
            "k8s/chart/Chart.yaml": chart("mail"),
            "k8s/chart/values.yaml": (
                "api:\n  image: registry.example.com/acme/mail-api:3.0.0\n  service: {type: NodePort}\n"
                "worker:\n  image: registry.example.com/acme/mail-worker@sha256:" + "0" * 64 + "\n"
            ),
            "k8s/chart/templates/all.yaml": deployment("mail-api", "{{ .Values.api.image }}")
            + "---\n" + service("mail-api", "{{ .Values.api.service.type }}")
            + "---\n" + deployment("mail-worker", "{{ .Values.worker.image }}", ""),
        },
        ("deployment/mail-api", "deployment/mail-worker"),
    ),
    # The application's chart among others: observability, Argo, a skeleton, a broken one, and its predecessor.
    "many-charts": Shape(
        {
            "Dockerfile.api": dockerfile("server.py ."), "server.py": SERVER,
            "charts/api/Chart.yaml": chart("api"),
            "charts/api/values.yaml": "image: {repository: acme/api, tag: 1.0.0}\nservice: {type: NodePort}\n",
            "charts/api/templates/all.yaml": deployment(
                "api", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"') + "---\n" + service("api"),
            "charts/api-old/Chart.yaml": chart("api"),
            "charts/api-old/values.yaml": "image: {repository: acme/api, tag: 0.1.0}\nservice: {type: NodePort}\n",
            "charts/api-old/templates/all.yaml": deployment(
                "api", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"') + "---\n" + service("api"),
            "observability/Chart.yaml": chart("observability"),
            "observability/values.yaml": "image: {repository: grafana/grafana, tag: 11.0.0}\n",
            "observability/templates/all.yaml": deployment(
                "grafana", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"'),
            "argocd/Chart.yaml": chart("apps"),
            "argocd/templates/app.yaml": (
                "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: api}\nspec: {project: default}\n"
            ),
            "templates/service/Chart.yaml": "apiVersion: v2\nname: {{ cookiecutter.name }}\nversion: 0.1.0\n",
            "charts/broken/Chart.yaml": chart("broken"),
            "charts/broken/templates/x.yaml": "{{ .Values.a.b.c | required \"a\" }\n",
            "charts/empty/Chart.yaml": chart("empty"),
        },
        ("deployment/api",),
        without=("charts/api-old", "observability", "argocd", "templates/service", "charts/broken", "charts/empty"),
    ),
    # Secrets: one that a value must name, one that the chart makes itself, one that a hook makes; and an Ingress.
    "secrets-ingress": Shape(
        {
            "app/Dockerfile": dockerfile("server.py ."), "app/server.py": SERVER,
            ".env.example": "SESSION_TOKEN=\nMAIL_FROM=shop@example.com\n",
            "chart/Chart.yaml": chart("desk"),
            "chart/values.yaml": (
                "image: {repository: acme/desk, tag: 1.0.0}\nexistingSecret: \"\"\n"
                "mail: {existingSecret: \"\", password: from-the-chart}\nservice: {type: ClusterIP}\n"
                "ingress: {className: nginx, host: desk.example.com}\n"
            ),
            "chart/templates/all.yaml": deployment(
                "desk", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"', """
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
          env:
            - {name: NEEDS, value: "SESSION_TOKEN MAIL_PASSWORD"}
            - name: SESSION_TOKEN
              valueFrom: {secretKeyRef: {name: "{{ .Values.existingSecret }}", key: SESSION_TOKEN}}
            - name: MAIL_PASSWORD
              valueFrom:
                secretKeyRef: {name: "{{ .Values.mail.existingSecret | default "desk-mail" }}", key: password}
            - name: HOOKED
              valueFrom: {secretKeyRef: {name: desk-hook, key: k}}""")
            + "---\n" + service("desk") + "---\n" + ingress("desk", "desk")
            + "{{- if not .Values.mail.existingSecret }}\n---\napiVersion: v1\nkind: Secret\n"
            "metadata: {name: desk-mail}\nstringData: {password: {{ .Values.mail.password }}}\n{{- end }}\n"
            "---\napiVersion: v1\nkind: Secret\n"
            "metadata: {name: desk-hook, annotations: {helm.sh/hook: pre-install}}\nstringData: {k: v}\n",
        },
        ("deployment/desk",),
        env={"SESSION_TOKEN": "0123456789abcdef"},
    ),
    # An umbrella: one part twice by alias, a library, and a part that is switched off.
    "umbrella": Shape(
        {
            "app/Dockerfile": dockerfile("server.py ."), "app/server.py": SERVER,
            "charts/helpers/Chart.yaml": chart("helpers", "type: library\n"),
            "charts/helpers/templates/_h.tpl":
                '{{- define "h.name" -}}{{ .Release.Name }}-{{ .Chart.Name }}{{- end }}\n',
            "charts/part/Chart.yaml": chart(
                "part", "dependencies: [{name: helpers, version: 0.1.0, repository: 'file://../helpers'}]\n"),
            "charts/part/values.yaml": "image: {repository: acme/app, tag: 0.1.0}\nservice: {type: ClusterIP}\n",
            "charts/part/templates/all.yaml": deployment(
                '{{ include "h.name" . }}', '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"')
            + "---\n" + service('{{ include "h.name" . }}'),
            "charts/extra/Chart.yaml": chart("extra"),
            "charts/extra/templates/x.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: must-not-be-there}\n",
            "charts/suite/Chart.yaml": chart("suite", (
                "dependencies:\n"
                "  - {name: part, version: 0.1.0, repository: 'file://../part', alias: web}\n"
                "  - {name: part, version: 0.1.0, repository: 'file://../part', alias: admin}\n"
                "  - {name: extra, version: 0.1.0, repository: 'file://../extra', condition: extra.enabled}\n"
            )),
            "charts/suite/values.yaml": (
                "web: {service: {type: NodePort}}\nadmin: {service: {type: ClusterIP}}\nextra: {enabled: false}\n"
            ),
        },
        ("deployment/suite-web", "deployment/suite-admin"),
        without=("charts/part", "charts/extra", "charts/helpers"),
    ),
    # One tag for all images, a registry that templates put before fixed names, and a digest that wins over the tag.
    "one-tag": Shape(
        {
            "backend/Dockerfile": dockerfile("server.py ."), "backend/server.py": SERVER,
            "frontend/Dockerfile": dockerfile("server.py ."), "frontend/server.py": SERVER,
            "deploy/chart/Chart.yaml": chart("bank"),
            "deploy/chart/values.yaml": (
                "global: {registry: registry.example.com/bank, imageTag: 5.0.0}\n"
                "frontend: {type: NodePort, digest: sha256:" + "1" * 64 + "}\n"
            ),
            "deploy/chart/templates/all.yaml": deployment(
                "backend", "{{ .Values.global.registry }}/backend:{{ .Values.global.imageTag }}")
            + "---\n" + service("backend", "ClusterIP") + "---\n" + deployment(
                "frontend", "{{ .Values.global.registry }}/frontend{{ with .Values.frontend.digest }}@{{ . }}"
                "{{ else }}:{{ .Values.global.imageTag }}{{ end }}")
            + "---\n" + service("frontend", "{{ .Values.frontend.type }}"),
        },
        ("deployment/backend", "deployment/frontend"),
    ),
    # No chart: a Compose file, whose variables come from the env file or are written there.
    "compose": Shape(
        {
            "api/Dockerfile": dockerfile("server.py ."), "api/server.py": SERVER,
            "web/Dockerfile.prod": dockerfile("server.py .", port="", head="ARG V\n" + BASE), "web/server.py": SERVER,
            "jobs/Dockerfile": dockerfile("main.py .", run="main.py", port=""), "jobs/main.py": WORKER,
            ".env.example": "SESSION_SECRET=\n",
            "docker-compose.yml": (
                "services:\n"
                "  api:\n    build: ./api\n    expose: ['8080']\n"
                "    environment:\n      NEEDS: SESSION_SECRET GREETING\n      SESSION_SECRET: ${SESSION_SECRET}\n"
                "      GREETING: ${GREETING:-hello}\n"
                "    healthcheck: {test: [CMD, curl, -f, 'http://localhost:8080/healthz']}\n"
                "  web:\n    build: {context: web, dockerfile: Dockerfile.prod, args: {V: '1'}}\n"
                "    ports: ['3000:8080']\n    environment: [ROLE=web]\n    depends_on: [api]\n"
                "  jobs:\n    build: {context: jobs}\n    volumes: ['data:/data']\n"
                "volumes: {data: {}}\n"
            ),
        },
        ("deployment/api", "deployment/web", "statefulset/jobs"),
        releases=3,
        env={"SESSION_SECRET": "0123456789abcdef"},
    ),
    # A migration that ends before the service starts, volumes that two services share, a tool in a profile.
    "compose-jobs": Shape(
        {
            "Dockerfile": dockerfile("server.py ."), "server.py": SERVER,
            "worker/Dockerfile": dockerfile("main.py .", run="main.py", port=""), "worker/main.py": WORKER,
            ".env.example": "DB_PASSWORD=\nDEBUG=\n", "app.env": "ROLE=api\n",
            "compose.yml": (
                "x-db: &db {DB_URL: 'postgres://u:${DB_PASSWORD:?set it}@db_main/u'}\n"
                "services:\n"
                "  migrate:\n    build: .\n    command: ['true']\n    environment: {<<: *db}\n    env_file: app.env\n"
                "  api:\n    build: .\n    ports: ['${PORT:-80}:8080']\n    env_file: [.env, app.env]\n"
                "    environment: {<<: *db, NEEDS: DB_URL, WORK: 'http://job_worker:9000'}\n"
                "    depends_on:\n      migrate: {condition: service_completed_successfully}\n"
                "      job_worker: {condition: service_started}\n"
                "    volumes: ['files:/files', 'made:/made:ro']\n"
                "  job_worker:\n    build: worker\n    volumes: ['files:/in:ro', 'made:/out']\n"
                "  shell: {image: 'adminer:4', profiles: [debug]}\n"
                "volumes: {files: {}, made: {}}\n"
            ),
        },
        ("deployment/api", "deployment/job-worker"),
        releases=2,
        env={"DB_PASSWORD": "0123456789abcdef"},
    ),
    # No chart and no Compose file: two Dockerfiles, or one.
    "dockerfiles": Shape(
        {
            "server/Dockerfile": dockerfile("server.py ."), "server/server.py": SERVER,
            "worker/Dockerfile": dockerfile("main.py .", run="main.py", port=""), "worker/main.py": WORKER,
        },
        ("deployment/server", "deployment/worker"),
        releases=2,
    ),
    "dockerfile": Shape({"Dockerfile": dockerfile(". ."), "server.py": SERVER, "README.md": "# A server\n"},
                        ("deployment/shape-dockerfile",)),
}  # fmt: skip


def write(shape: Shape, folder: Path) -> Path:
    """The repository is in the folder."""
    for name, text in shape.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
