{{- define "component.statefulset" -}}
{{- if eq .Values.kind "StatefulSet" -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "component.workloadMetadata" . | nindent 2 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicaCount }}
  {{- end }}
  revisionHistoryLimit: {{ .Values.revisionHistoryLimit }}
  minReadySeconds: {{ .Values.minReadySeconds }}
  serviceName: {{ include "component.serviceName" . }}
  selector:
    matchLabels:
      {{- include "component.selectorLabels" . | nindent 6 }}
  {{- /* Pods of a StatefulSet have an identity: they are replaced one by one, never surged. */}}
  updateStrategy:
    type: {{ eq .Values.strategy.type "OnDelete" | ternary "OnDelete" "RollingUpdate" }}
  template:
    {{- include "component.pod" . | nindent 4 }}
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ .Values.persistence.keep | ternary "Retain" "Delete" }}
    whenScaled: Retain
  {{- /* Claim templates are immutable, so they carry only labels that never change. */}}
  volumeClaimTemplates:
    - metadata:
        name: {{ include "component.claimName" . }}
        labels:
          {{- include "component.selectorLabels" . | nindent 10 }}
      spec:
        {{- include "component.claimSpec" . | nindent 8 }}
  {{- end }}
{{- end -}}
{{- end -}}
