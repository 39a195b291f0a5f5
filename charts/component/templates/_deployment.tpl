{{- define "component.deployment" -}}
{{- if eq .Values.kind "Deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "component.workloadMetadata" . | nindent 2 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  progressDeadlineSeconds: {{ .Values.progressDeadlineSeconds }}
  minReadySeconds: {{ .Values.minReadySeconds }}
  selector:
    matchLabels:
      {{- include "component.selectorLabels" . | nindent 6 }}
  strategy:
    type: {{ .Values.strategy.type }}
    {{- /* Other types refuse the field, and merged values would still carry its defaults. */}}
    {{- if eq .Values.strategy.type "RollingUpdate" }}
    rollingUpdate:
      {{- toYaml .Values.strategy.rollingUpdate | nindent 6 }}
    {{- end }}
  template:
    {{- include "component.pod" . | nindent 4 }}
{{- end -}}
{{- end -}}
