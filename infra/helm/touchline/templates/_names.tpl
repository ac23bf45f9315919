{{/* Names and labels. The components are api, worker, dashboard, redis and test. */}}

{{- define "touchline.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "touchline.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Takes (dict "root" $ "component" "api"). */}}
{{- define "touchline.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "touchline.componentLabels" -}}
{{ include "touchline.labels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "touchline.image" -}}
{{- with .root.Values.image -}}
{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}-{{ $.component }}:{{ .tag | default $.root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "touchline.secretName" -}}
{{ .Values.existingSecret | default (include "touchline.name" .) }}
{{- end }}

{{/* Empty when the artifacts are in a bucket. */}}
{{- define "touchline.claimName" -}}
{{- with .Values.artifacts.persistence -}}
{{- if .existingClaim -}}{{ .existingClaim }}
{{- else if .size -}}{{ include "touchline.name" $ }}-artifacts
{{- end -}}
{{- end -}}
{{- end }}
