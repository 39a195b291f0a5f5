{{/*
In an umbrella chart .Chart.Name is the alias, so a component is named after its alias unless told otherwise.
*/}}
{{- define "component.name" -}}
{{- .Values.name | default .Chart.Name -}}
{{- end -}}

{{- define "component.serviceName" -}}
{{- .Values.service.name | default (printf "%s-service" (include "component.name" .)) -}}
{{- end -}}

{{- define "component.configName" -}}
{{- .Values.config.name | default (printf "%s-config" (include "component.name" .)) -}}
{{- end -}}

{{/*
A StatefulSet's claim template is called "data": Kubernetes itself appends the pod's name to it.
*/}}
{{- define "component.claimName" -}}
{{- $default := eq .Values.kind "StatefulSet" | ternary "data" (printf "%s-data" (include "component.name" .)) -}}
{{- .Values.persistence.name | default $default -}}
{{- end -}}

{{- define "component.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "component.name" .) "") -}}
{{- end -}}

{{/*
The name in the cluster of the Secret that the values call .secret: whoever deploys may give Secrets
content-addressed names (global.secretNames) without knowing where each of them is used.
Takes (dict "root" $ "secret" <name>).
*/}}
{{- define "component.secretName" -}}
{{- get .root.Values.global.secretNames .secret | default .secret -}}
{{- end -}}

{{/*
A mutable tag would make rollback a lie: the same manifest, another program. What others make is taken as image.ref
names it.
*/}}
{{- define "component.image" -}}
{{- $name := include "component.name" . -}}
{{- $image := .Values.image -}}
{{- with $image.ref -}}{{ . }}{{- else -}}
{{- $repository := required (printf "%s: image.repository is required" $name) $image.repository -}}
{{- $tag := required (printf "%s: image.tag is required: an immutable tag such as 1.0.0-3f9c2ab41d07" $name) $image.tag -}}
{{- if eq $tag "latest" -}}
{{- fail (printf "%s: image.tag must not be \"latest\": give an immutable tag such as 1.0.0-3f9c2ab41d07" $name) -}}
{{- end -}}
{{- with .Values.global.imageRegistry | default $image.registry -}}{{ . }}/{{- end -}}
{{ $repository }}:{{ $tag }}
{{- end -}}
{{- end -}}
