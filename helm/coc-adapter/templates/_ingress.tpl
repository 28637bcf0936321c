{{/* One Ingress. Call with (dict "root" $ "ingress" dict "suffix" "..." "path" "/..." "port" "..."). */}}
{{- define "coc-adapter.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "coc-adapter.metadata" (dict "root" .root "suffix" .suffix "labels" .ingress.labels "annotations" .ingress.annotations) | nindent 2 }}
spec:
  {{- with .ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range .ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: {{ $.path }}
            pathType: Prefix
            backend:
              service:
                name: {{ include "coc-adapter.fullname" $.root }}
                port:
                  name: {{ $.port }}
    {{- end }}
{{- end }}
