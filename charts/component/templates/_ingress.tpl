{{- define "component.ingress" -}}
{{- $ingress := .Values.ingress -}}
{{- if $ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "component.metadata" (dict
        "root" . "name" ($ingress.name | default (include "component.name" .))
        "annotations" $ingress.annotations) | nindent 2 }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range $ingress.hosts }}
    - host: {{ quote .host }}
      http:
        paths:
          {{- range .paths }}
          - path: {{ .path }}
            pathType: {{ .pathType | default "Prefix" }}
            backend:
              service:
                name: {{ .serviceName | default (include "component.serviceName" $) }}
                port:
                  number: {{ .servicePort | default $.Values.service.port | default $.Values.port }}
          {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}
