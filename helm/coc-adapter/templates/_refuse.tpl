{{/* Refuses combinations of values that cannot work, before anything is installed. */}}
{{- define "coc-adapter.refuse" -}}
{{- $postgresql := include "coc-adapter.postgresql" . -}}
{{- if not $postgresql -}}
{{- if gt (int .Values.replicaCount) 1 -}}
{{- fail (printf "replicaCount: %d pods cannot share a SQLite file; set store.postgresql.existingSecret, or replicaCount: 1" (int .Values.replicaCount)) -}}
{{- end -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled: several pods cannot share a SQLite file; set store.postgresql.existingSecret" -}}
{{- end -}}
{{- if and (not .Values.persistence.enabled) (not .Values.persistence.acceptDataLoss) -}}
{{- fail "persistence.enabled: without a volume an evicted pod loses alerts it has accepted; keep it true, use store.postgresql, or set persistence.acceptDataLoss: true" -}}
{{- end -}}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) -}}
{{- fail "persistence.existingClaim: it is not used while persistence.enabled is false; remove one of the two" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.store.postgresql.existingSecret .Values.store.postgresql.dsn -}}
{{- fail "store.postgresql: existingSecret and dsn are both set; keep one of them" -}}
{{- end -}}
{{- if and .Values.webhook.auth.existingSecret .Values.webhook.auth.token -}}
{{- fail "webhook.auth: existingSecret and token are both set; keep one of them" -}}
{{- end -}}
{{- if and .Values.mappings .Values.existingMappingsConfigMap -}}
{{- fail "mappings: mappings and existingMappingsConfigMap are both set; keep one of them" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled -}}
{{- fail "podMonitor.enabled: with serviceMonitor.enabled every series would be scraped twice; keep one of them" -}}
{{- end -}}
{{- if and (eq .Values.web.scheme "HTTPS") (not .Values.web.configSecret) -}}
{{- fail "web.scheme: HTTPS needs web.configSecret, the Secret with the web configuration that turns TLS on" -}}
{{- end -}}
{{- if and .Values.admin.ingress.enabled (not .Values.web.configSecret) -}}
{{- fail "admin.ingress.enabled: the admin port asks nobody for credentials; set web.configSecret, the Secret with a web configuration that names users" -}}
{{- end -}}
{{- if and .Values.admin.ingress.enabled (not .Values.admin.ingress.hosts) -}}
{{- fail "admin.ingress.hosts: an Ingress without a host would match every host name; name at least one" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: an Ingress without a host would match every host name; name at least one" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: an HTTPRoute without a Gateway is never served; name at least one" -}}
{{- end -}}
{{- range $name, $integration := .Values.integrations -}}
{{- include "coc-adapter.refuseIntegration" (dict "name" $name "integration" $integration) -}}
{{- end -}}
{{- end }}

{{- define "coc-adapter.refuseIntegration" -}}
{{- $where := printf "integrations.%s" .name -}}
{{- $inline := default dict .integration.inline -}}
{{- $given := list -}}
{{- range $role, $value := $inline }}{{ if $value }}{{ $given = append $given $role }}{{ end }}{{ end -}}
{{- if and .integration.existingSecret $given -}}
{{- fail (printf "%s: existingSecret and inline.%s are both set; keep one of them" $where (first $given)) -}}
{{- end -}}
{{- if not .integration.existingSecret -}}
{{- range include "coc-adapter.integrationFiles" . | fromYamlArray -}}
{{- if not (get $inline .role) -}}
{{- fail (printf "%s.existingSecret: name the Secret that holds COC's credentials (or, for a trial, set %s.inline.%s)" $where $where .role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
