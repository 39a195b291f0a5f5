{{- define "component.pvc" -}}
{{- if and .Values.persistence.enabled (eq .Values.kind "Deployment") -}}
{{- $keep := .Values.persistence.keep | ternary (dict "helm.sh/resource-policy" "keep") dict -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" (include "component.claimName" .) "annotations" $keep) | nindent 2 }}
spec:
  {{- include "component.claimSpec" . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "component.claimSpec" -}}
accessModes:
  {{- toYaml .Values.persistence.accessModes | nindent 2 }}
{{- with .Values.persistence.storageClass | default .Values.global.storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.persistence.size }}
{{- end -}}
