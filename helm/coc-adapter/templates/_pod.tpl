{{/* The pod of both kinds of workload. */}}

{{- define "coc-adapter.args" -}}
- serve
- --config.file=/etc/coc-adapter/adapter.yml
- --web.listen-address=:9876
- --web.admin-address={{ ternary "" "127.0.0.1" .Values.admin.ingress.enabled }}:9877
{{- if .Values.web.configSecret }}
- --web.config.file=/etc/coc-adapter-web/web-config.yml
{{- else if not .Values.webhook.auth.enabled }}
- --web.allow-unauthenticated
{{- end }}
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* A probe, with this handler unless it has one. Call with (dict "root" $ "probe" dict "path" "/..."). */}}
{{- define "coc-adapter.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if not (or $probe.httpGet $probe.exec $probe.tcpSocket $probe.grpc) -}}
{{- $_ := set $probe "httpGet" (dict "path" .path "port" "http" "scheme" .root.Values.web.scheme) -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end }}

{{- define "coc-adapter.container" -}}
name: coc-adapter
image: {{ include "coc-adapter.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  {{- include "coc-adapter.args" . | nindent 2 }}
ports:
  - name: http
    containerPort: 9876
    protocol: TCP
  {{- if .Values.admin.ingress.enabled }}
  - name: admin
    containerPort: 9877
    protocol: TCP
  {{- end }}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
startupProbe:
  {{- include "coc-adapter.probe" (dict "root" . "probe" .Values.startupProbe "path" "/-/healthy") | nindent 2 }}
livenessProbe:
  {{- include "coc-adapter.probe" (dict "root" . "probe" .Values.livenessProbe "path" "/-/healthy") | nindent 2 }}
readinessProbe:
  {{- include "coc-adapter.probe" (dict "root" . "probe" .Values.readinessProbe "path" "/-/ready") | nindent 2 }}
{{- with .Values.lifecycle }}
lifecycle:
  {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - name: config
    mountPath: /etc/coc-adapter
    readOnly: true
  {{- if include "coc-adapter.mappingsConfigMap" . }}
  - name: mappings
    mountPath: /etc/coc-adapter-mappings
    readOnly: true
  {{- end }}
  {{- if .Values.web.configSecret }}
  - name: web
    mountPath: /etc/coc-adapter-web
    readOnly: true
  {{- end }}
  {{- if not (include "coc-adapter.postgresql" .) }}
  - name: data
    mountPath: /var/lib/coc-adapter
  {{- end }}
  - name: tmp
    mountPath: /tmp
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "coc-adapter.volumes" -}}
- name: config
  projected:
    defaultMode: 0440
    sources:
      {{- include "coc-adapter.configSources" . | nindent 6 }}
{{- with include "coc-adapter.mappingsConfigMap" . }}
- name: mappings
  configMap:
    name: {{ . }}
{{- end }}
{{- with .Values.web.configSecret }}
- name: web
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if not (include "coc-adapter.postgresql" .) }}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ .Values.persistence.emptyDirSizeLimit }}
{{- else if .Values.persistence.existingClaim }}
- name: data
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim }}
{{- end }}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Spreads replicas, so that a lost host or zone does not end all of them. */}}
{{- define "coc-adapter.topologySpread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else if include "coc-adapter.postgresql" . -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "coc-adapter.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end -}}
{{- end }}

{{- define "coc-adapter.podTemplate" -}}
metadata:
  labels:
    {{- toYaml (mustMerge (include "coc-adapter.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels) | nindent 4 }}
  annotations:
    # Mappings and secrets are loaded at runtime; a changed adapter.yml needs a new pod.
    checksum/config: {{ include "coc-adapter.adapterYml" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "coc-adapter.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "coc-adapter.topologySpread" . | trim }}
  topologySpreadConstraints:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.dnsPolicy }}
  dnsPolicy: {{ . }}
  {{- end }}
  {{- with .Values.dnsConfig }}
  dnsConfig:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.hostAliases }}
  hostAliases:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.extraInitContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - {{ include "coc-adapter.container" . | nindent 6 | trim }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "coc-adapter.volumes" . | nindent 4 }}
{{- end }}
