{{/*
adapter.yml and the files it names. Both are rendered from one list of secret files, so a path in adapter.yml and its mount cannot
differ.
*/}}

{{/* The secrets of an integration and their keys in adapter.yml; "in" names the section below the integration. */}}
{{- define "coc-adapter.secretFiles" -}}
integrationKey: {file: integration-key, setting: integration_key_file}
accessKey: {file: access-key, setting: access_key_file, in: auth, type: aksk}
secretKey: {file: secret-key, setting: secret_key_file, in: auth, type: aksk}
token: {file: token, setting: token_file, in: auth, type: token}
proxyUrl: {file: proxy-url, setting: proxy_url_file}
ca: {file: ca.crt, setting: ca_file, in: tls_config}
cert: {file: tls.crt, setting: cert_file, in: tls_config}
key: {file: tls.key, setting: key_file, in: tls_config}
{{- end }}

{{/* The key names of an integration's Secret; inline secrets always have the default names. */}}
{{- define "coc-adapter.secretKeys" -}}
{{- $usual := dict "integrationKey" "integration-key" "accessKey" "access-key" "secretKey" "secret-key" "token" "token" -}}
{{- if .existingSecret -}}
{{- toYaml (mustMergeOverwrite $usual (default dict .secretKeys)) -}}
{{- else -}}
{{- toYaml $usual -}}
{{- end -}}
{{- end }}

{{/* The secret files that one integration needs, as YAML: list of {key, path, in, setting}. Call with (dict "name" "integration"). */}}
{{- define "coc-adapter.integrationFiles" -}}
{{- $type := dig "config" "auth" "type" "aksk" .integration -}}
{{- $keys := include "coc-adapter.secretKeys" .integration | fromYaml -}}
{{- $files := list -}}
{{- range $role, $file := include "coc-adapter.secretFiles" . | fromYaml -}}
{{- $key := get $keys $role -}}
{{- if and $key (or (not $file.type) (eq $file.type $type)) -}}
{{- $files = append $files (dict "role" $role "key" $key "path" (printf "secrets/integrations/%s/%s" $.name $file.file) "in" (default "" $file.in) "setting" $file.setting) -}}
{{- end -}}
{{- end -}}
{{- toYaml $files -}}
{{- end }}

{{/* One integration of adapter.yml. */}}
{{- define "coc-adapter.integration" -}}
{{- $config := deepCopy (default dict .integration.config) -}}
{{- if $config.base_url }}{{ $_ := unset $config "site" }}{{ end -}}
{{- $_ := set $config "auth" (mustMerge (default dict $config.auth) (dict "type" "aksk")) -}}
{{- range include "coc-adapter.integrationFiles" . | fromYamlArray -}}
{{- $section := $config -}}
{{- if .in -}}
{{- if not (hasKey $config .in) }}{{ $_ := set $config .in dict }}{{ end -}}
{{- $section = get $config .in -}}
{{- end -}}
{{- $_ := set $section .setting (printf "/etc/coc-adapter/%s" .path) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* Not empty when Alertmanager is asked what is true. */}}
{{- define "coc-adapter.reconciles" -}}
{{- if or (not (has (toString .Values.reconcile.mode) (list "off" "false"))) (dig "reconcile" "alertmanagers" "" (default dict .Values.config)) }}true{{ end -}}
{{- end }}

{{- define "coc-adapter.adapterYml" -}}
{{- $config := deepCopy .Values.config -}}
{{- $integrations := dict -}}
{{- range $name, $integration := .Values.integrations -}}
{{- $_ := set $integrations $name (include "coc-adapter.integration" (dict "name" $name "integration" $integration) | fromYaml) -}}
{{- end -}}
{{- $_ := set $config "integrations" $integrations -}}
{{- if include "coc-adapter.postgresql" . -}}
{{- $_ := set $config "store_file" "/etc/coc-adapter/secrets/store/dsn" -}}
{{- else -}}
{{- $_ := set $config "store" "sqlite:/var/lib/coc-adapter/adapter.db" -}}
{{- end -}}
{{- with .Values.reconcile -}}
{{- if not (has (toString .mode) (list "off" "false")) -}}
{{- $alertmanager := dict "name" "main" "dns" .dns -}}
{{- with .externalUrls }}{{ $_ := set $alertmanager "external_urls" . }}{{ end -}}
{{- with .receivers }}{{ $_ := set $alertmanager "receivers" . }}{{ end -}}
{{- with .watchdog }}{{ $_ := set $alertmanager "watchdog" . }}{{ end -}}
{{- $chosen := dict "mode" .mode "alertmanagers" (list $alertmanager) -}}
{{- $_ := set $config "reconcile" (mustMergeOverwrite $chosen (default dict $config.reconcile)) -}}
{{- end -}}
{{- end -}}
{{- if include "coc-adapter.mappingsConfigMap" . -}}
{{- $_ := set $config "mappings" "/etc/coc-adapter-mappings" -}}
{{- end -}}
{{- if .Values.webhook.auth.enabled -}}
{{- $_ := set $config "webhook" (mustMerge (default dict $config.webhook) (dict "bearer_token_file" "/etc/coc-adapter/secrets/webhook/token")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* The sources of the volume at /etc/coc-adapter: one volume, because nothing can be mounted below a read-only one. */}}
{{- define "coc-adapter.configSources" -}}
- configMap:
    name: {{ include "coc-adapter.fullname" . }}
    items:
      - key: adapter.yml
        path: adapter.yml
{{- range $name, $integration := .Values.integrations }}
- secret:
    name: {{ default (printf "%s-integrations" (include "coc-adapter.fullname" $)) $integration.existingSecret }}
    items:
      {{- range include "coc-adapter.integrationFiles" (dict "name" $name "integration" $integration) | fromYamlArray }}
      - key: {{ if $integration.existingSecret }}{{ .key | quote }}{{ else }}{{ printf "%s.%s" $name .key | quote }}{{ end }}
        path: {{ .path }}
      {{- end }}
{{- end }}
{{- if .Values.webhook.auth.enabled }}
- secret:
    name: {{ include "coc-adapter.webhookSecret" . }}
    items:
      - key: {{ .Values.webhook.auth.secretKey | quote }}
        path: secrets/webhook/token
{{- end }}
{{- if include "coc-adapter.postgresql" . }}
- secret:
    name: {{ default (printf "%s-store" (include "coc-adapter.fullname" .)) .Values.store.postgresql.existingSecret }}
    items:
      - key: {{ .Values.store.postgresql.secretKey | quote }}
        path: secrets/store/dsn
{{- end }}
{{- end }}
