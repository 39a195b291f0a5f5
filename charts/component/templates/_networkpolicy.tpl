{{- define "component.networkpolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- if $policy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" ($policy.name | default (include "component.name" .))) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "component.selectorLabels" . | nindent 6 }}
  policyTypes:
    {{- toYaml $policy.policyTypes | nindent 4 }}
  {{- range $direction := list "ingress" "egress" }}
  {{- with get $policy $direction }}
  {{ $direction }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}
