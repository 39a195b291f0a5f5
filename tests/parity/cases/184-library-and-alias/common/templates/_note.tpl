{{- define "common.note" -}}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .name }}}
data: {note: {{ .note | quote }}}
{{- end }}
