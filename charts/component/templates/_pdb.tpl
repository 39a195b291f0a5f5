{{- define "component.pdb" -}}
{{- $pdb := .Values.podDisruptionBudget -}}
{{- if $pdb.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" ($pdb.name | default (printf "%s-pdb" (include "component.name" .)))) | nindent 2 }}
spec:
  {{- /* The API takes one of the two. Zero is a meaning of its own, so "not given" is asked for exactly. */}}
  {{- if kindIs "invalid" $pdb.minAvailable }}
  maxUnavailable: {{ $pdb.maxUnavailable }}
  {{- else }}
  minAvailable: {{ $pdb.minAvailable }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "component.selectorLabels" . | nindent 6 }}
{{- end -}}
{{- end -}}
