{{/*
The pod template, shared by Deployment and StatefulSet. Whatever stands here restarts the pods when it
changes, so it holds no version of the chart and nothing of the release.
*/}}
{{- define "component.pod" -}}
metadata:
  labels:
    {{- merge (include "component.selectorLabels" . | fromYaml) .Values.podLabels | toYaml | nindent 4 }}
  {{- with merge (include "component.checksums" . | fromYaml) .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- /* Always given: the API server keeps a copy of the name (serviceAccount), and a field that is left out in the
         next revision would get the old name back from it. */}}
  serviceAccountName: {{ include "component.serviceAccountName" . | default "default" }}
  automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
  {{- /* Links would set <SERVICE>_PORT=tcp://… in every container; BACKEND_PORT, for one, is a setting of ours. */}}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.global.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "component.container" . | indent 6 | trim }}
  {{- with include "component.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with get $.Values $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .Values.podSpec }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "component.container" -}}
name: {{ include "component.name" . }}
image: {{ include "component.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.args }}
args:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.port }}
ports:
  - containerPort: {{ . }}
    protocol: TCP
    {{- with $.Values.containerPortName }}
    name: {{ . }}
    {{- end }}
{{- end }}
{{- with include "component.env" . | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "component.envFrom" . | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $probe := list "startup" "liveness" "readiness" }}
{{- with get $.Values.probes $probe }}
{{ $probe }}Probe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.preStopSeconds }}
{{- if ge (int .) (int $.Values.terminationGracePeriodSeconds) }}
{{- fail (printf "%s: preStopSeconds (%d) leaves no time to stop within terminationGracePeriodSeconds (%d)"
      (include "component.name" $) (int .) (int $.Values.terminationGracePeriodSeconds)) }}
{{- end }}
{{- /* Endpoints are withdrawn while a pod stops, not before: it serves on until the proxies have heard of it. */}}
lifecycle:
  preStop:
    exec:
      command: ["sleep", {{ toString . | quote }}]
{{- end }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "component.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.containerSpec }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Secrets come first: a plain value may then refer to one as $(NAME), which Kubernetes only expands backwards.
*/}}
{{- define "component.env" -}}
{{- range $name, $ref := .Values.secretEnv }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "component.secretName" (dict "root" $ "secret" $ref.secret) }}
      key: {{ $ref.key }}
      {{- if $ref.optional }}
      optional: true
      {{- end }}
{{- end }}
{{- range $name, $ref := .Values.configEnv }}
- name: {{ $name }}
  valueFrom:
    configMapKeyRef:
      name: {{ include "component.configName" $ }}
      key: {{ $ref.key }}
{{- end }}
{{- range $name, $value := .Values.env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ quote $value }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "component.envFrom" -}}
{{- if and .Values.config.enabled .Values.config.envFrom }}
- configMapRef:
    name: {{ include "component.configName" . }}
{{- end }}
{{- range .Values.envFromSecrets }}
- secretRef:
    name: {{ include "component.secretName" (dict "root" $ "secret" .) }}
{{- end }}
{{- end -}}

{{/*
/tmp is a volume because the root file system is read-only. A StatefulSet's claims bring their volume along.
*/}}
{{- define "component.volumes" -}}
{{- if .Values.tmp.enabled }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmp.sizeLimit }}
{{- end }}
{{- if and .Values.persistence.enabled (eq .Values.kind "Deployment") }}
- name: {{ include "component.claimName" . }}
  persistentVolumeClaim:
    claimName: {{ include "component.claimName" . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "component.volumeMounts" -}}
{{- if .Values.tmp.enabled }}
- name: tmp
  mountPath: /tmp
{{- end }}
{{- if .Values.persistence.enabled }}
- name: {{ include "component.claimName" . }}
  mountPath: {{ required (printf "%s: persistence.mountPath is required" (include "component.name" .)) .Values.persistence.mountPath }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
