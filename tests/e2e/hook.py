"""A hook of the application's chart that fails, as a migration may."""

from __future__ import annotations

IMAGE = '"{{ .Values.backend.image.repository }}:{{ .Values.backend.image.tag }}"'

_JOB = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: todo-migrate
  annotations:
    helm.sh/hook: pre-upgrade
    helm.sh/hook-delete-policy: "@POLICY@"
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 1000}
      containers:
        - name: migrate
          image: @IMAGE@
          command: [sh, -c, "sleep @SECONDS@; echo 'migration 0007 failed: column price is not a number'; exit 3"]
          resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 64Mi}}
"""


def migration(delete_policy: str, seconds: int = 0) -> str:
    """The template of its Job, which fails after so many seconds."""
    words = {"@POLICY@": delete_policy, "@IMAGE@": IMAGE, "@SECONDS@": str(seconds)}
    text = _JOB
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
