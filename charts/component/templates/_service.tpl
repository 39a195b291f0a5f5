{{- define "component.service" -}}
{{- $service := .Values.service -}}
{{- if $service.enabled -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" (include "component.serviceName" .)
        "labels" $service.labels "annotations" $service.annotations) | nindent 2 }}
spec:
  type: {{ $service.type }}
  {{- if $service.headless }}
  clusterIP: None
  {{- end }}
  selector:
    {{- include "component.selectorLabels" . | nindent 4 }}
  ports:
    {{- with $service.port | default .Values.port }}
    - name: {{ $service.portName }}
      protocol: TCP
      port: {{ . }}
      targetPort: {{ $service.targetPort | default $.Values.port }}
      {{- if and $service.nodePort (ne $service.type "ClusterIP") }}
      nodePort: {{ $service.nodePort }}
      {{- end }}
    {{- end }}
    {{- with $service.extraPorts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/*
Where the Service answers, as lines of NOTES.txt.
*/}}
{{- define "component.access" -}}
{{- if and .Values.enabled .Values.service.enabled -}}
{{- $service := include "component.serviceName" . -}}
{{- if eq .Values.service.type "ClusterIP" -}}
{{ include "component.name" . }}: inside the cluster only, {{ $service }}.{{ .Release.Namespace }}:{{ .Values.service.port | default .Values.port }}
{{- else -}}
{{ include "component.name" . }}: minikube service {{ $service }} --namespace {{ .Release.Namespace }} --url
{{- end -}}
{{- end -}}
{{- end -}}
