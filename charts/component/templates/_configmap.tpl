{{- define "component.configmap" -}}
{{- $config := .Values.config -}}
{{- if and $config.enabled $config.create -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" (include "component.configName" .) "labels" $config.labels) | nindent 2 }}
{{- if $config.immutable }}
immutable: true
{{- end }}
data:
  {{- include "component.configData" . | nindent 2 }}
{{- end -}}
{{- end -}}
