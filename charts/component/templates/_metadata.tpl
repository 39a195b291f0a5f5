{{/*
The only label that selects pods. Selectors are immutable, so nothing that may ever change belongs here.
*/}}
{{- define "component.selectorLabels" -}}
app: {{ include "component.name" . }}
{{- end -}}

{{/*
Labels of every object, never of pods: the chart's version would restart all of them at each release.
*/}}
{{- define "component.labels" -}}
{{ include "component.selectorLabels" . }}
app.kubernetes.io/name: {{ include "component.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ include "component.name" . }}
app.kubernetes.io/part-of: {{ .Values.global.partOf | default .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/*
The whole metadata of an object. The component's own labels win over free ones, so that no value can detach
an object from its component. Takes (dict "root" $ "name" <name> ["labels" <map>] ["annotations" <map>]).
*/}}
{{- define "component.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- merge (include "component.labels" .root | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Metadata of the Deployment or StatefulSet. The image's tag says which version runs; it stands here alone, so
that a new image does not touch the component's other objects.
*/}}
{{- define "component.workloadMetadata" -}}
{{- $version := dict "app.kubernetes.io/version" (.Values.image.tag | trunc 63 | trimAll "-_.") -}}
{{- include "component.metadata" (dict
      "root" . "name" (include "component.name" .)
      "labels" (merge $version .Values.labels) "annotations" .Values.annotations) -}}
{{- end -}}
