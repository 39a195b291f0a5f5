{{/*
Every object of one component, from the calling chart's .Values. An object that is not enabled renders to
nothing and is left out, separator included.
*/}}
{{- define "component.all" -}}
{{- if .Values.enabled -}}
{{- range list "serviceaccount" "configmap" "pvc" "service" "deployment" "statefulset" "hpa" "pdb" "ingress" "networkpolicy" -}}
{{- with include (printf "component.%s" .) $ -}}
---
{{ . }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
