{{/*
What the component's ConfigMap holds: its own data, over data shared by ConfigMap name (global.configData).
*/}}
{{- define "component.configData" -}}
{{- $shared := get .Values.global.configData (include "component.configName" .) | default dict -}}
{{- merge (deepCopy .Values.config.data) $shared | toYaml -}}
{{- end -}}

{{/*
Annotations that roll the pods when, and only when, something they read at start has changed.

Configuration counts by its data alone: labels of the ConfigMap differ between versions of the chart.
Secrets count key by key, by the checksums that whoever deploys passes in global.secretChecksums; values of
Secrets never come near a chart. So rotating a key restarts its users and nobody else.
*/}}
{{- define "component.checksums" -}}
{{- if .Values.config.enabled }}
checksum/config: {{ include "component.configData" . | sha256sum }}
{{- end }}
{{- $known := .Values.global.secretChecksums -}}
{{- $used := dict -}}
{{- range .Values.secretEnv -}}
  {{- $secret := .secret -}}
  {{- $key := .key -}}
  {{- with get (get $known $secret | default dict) $key -}}
    {{- $_ := set $used (printf "%s/%s" $secret $key) . -}}
  {{- end -}}
{{- end -}}
{{- range $secret := .Values.envFromSecrets -}}
  {{- range $key, $checksum := get $known $secret | default dict -}}
    {{- $_ := set $used (printf "%s/%s" $secret $key) $checksum -}}
  {{- end -}}
{{- end -}}
{{- with $used }}
checksum/secrets: {{ toJson . | sha256sum }}
{{- end }}
{{- end -}}
