{{- define "tidewire.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tidewire.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tidewire.labels" -}}
{{ include "tidewire.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "tidewire.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "tidewire.fullname" .) -}}
{{- end -}}

{{- define "tidewire.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* "true" if the configuration has a section server.grpc, even an empty one. */}}
{{- define "tidewire.hasGrpc" -}}
{{- $server := .Values.config.server | default dict -}}
{{- if and (hasKey $server "grpc") (kindIs "map" $server.grpc) -}}true{{- end -}}
{{- end -}}

{{/* The configuration file: the values, under what the chart itself needs. */}}
{{- define "tidewire.config" -}}
{{- $given := dig "server" "admin" "hosts" list .Values.config -}}
{{- $hosts := concat (list "localhost" "127.0.0.1" "[::1]" "${POD_IP}") $given | uniq -}}
{{- $admin := dict "host" "0.0.0.0" "port" 8481 "hosts" $hosts -}}
{{- $own := dict "host" "0.0.0.0" "port" 8480 "drainTimeout" (printf "%ds" (int .Values.drainTimeoutSeconds)) "admin" $admin -}}
{{- if include "tidewire.hasGrpc" . -}}
{{- $_ := set $own "grpc" (dict "host" "0.0.0.0" "port" 8482) -}}
{{- end -}}
{{- $config := mergeOverwrite (deepCopy .Values.config) (dict "server" $own) -}}
{{- if not (include "tidewire.hasGrpc" .) -}}
{{- $_ := unset $config.server "grpc" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
