{{/* Names are cut at 50 so that the longest suffix and Kubernetes' revision hash fit in 63. */}}
{{- define "coc-adapter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "coc-adapter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "coc-adapter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{- define "coc-adapter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "coc-adapter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "coc-adapter.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with .Values.image.registry }}{{ $repository = printf "%s/%s" . $repository }}{{ end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end }}

{{/* Never changes in a release, because a selector cannot be changed. */}}
{{- define "coc-adapter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "coc-adapter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "coc-adapter.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" (.Chart.AppVersion | trunc 63)
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "coc-adapter" -}}
{{- toYaml (mustMerge (include "coc-adapter.selectorLabels" . | fromYaml) $own .Values.commonLabels) -}}
{{- end }}

{{/* Call with (dict "root" $ "suffix" "..." "labels" dict "annotations" dict "namespace" ""). */}}
{{- define "coc-adapter.metadata" -}}
name: {{ include "coc-adapter.fullname" .root }}{{ .suffix }}
namespace: {{ default (include "coc-adapter.namespace" .root) .namespace }}
labels:
  {{- toYaml (mustMerge (include "coc-adapter.labels" .root | fromYaml) (default dict .labels)) | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Empty when the store is SQLite. */}}
{{- define "coc-adapter.postgresql" -}}
{{- if or .Values.store.postgresql.existingSecret .Values.store.postgresql.dsn -}}true{{- end -}}
{{- end }}

{{- define "coc-adapter.mappingsConfigMap" -}}
{{- if .Values.mappings -}}
{{- include "coc-adapter.fullname" . }}-mappings
{{- else -}}
{{- .Values.existingMappingsConfigMap -}}
{{- end -}}
{{- end }}

{{- define "coc-adapter.webhookSecret" -}}
{{- default (printf "%s-webhook" (include "coc-adapter.fullname" .)) .Values.webhook.auth.existingSecret -}}
{{- end }}

{{/* The URL for Alertmanager, without a path. */}}
{{- define "coc-adapter.url" -}}
{{- printf "%s://%s.%s.svc:%d" (lower .Values.web.scheme) (include "coc-adapter.fullname" .) (include "coc-adapter.namespace" .) (int .Values.service.port) -}}
{{- end }}

{{/* `/webhook` is the path of `default`, or of the only integration; every other one has its own path. */}}
{{- define "coc-adapter.mainIntegration" -}}
{{- if hasKey .Values.integrations "default" -}}default
{{- else if eq (len .Values.integrations) 1 -}}{{ keys .Values.integrations | first }}
{{- end -}}
{{- end }}

{{- define "coc-adapter.testPodLabels" -}}
app.kubernetes.io/name: {{ include "coc-adapter.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
