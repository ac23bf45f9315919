{{/* What the pods of api, worker and dashboard share. Each takes (dict "root" $ "component" "api"). */}}

{{/* A pod that keeps an old setting is worse than a restart. */}}
{{- define "touchline.podMetadata" -}}
annotations:
  checksum/config: {{ include (print .root.Template.BasePath "/configmap.yaml") .root | sha256sum }}
  {{- if eq .component "dashboard" }}
  checksum/secret: {{ .root.Values.secret.API_KEY | default "" | sha256sum }}
  {{- else }}
  checksum/secret: {{ include (print .root.Template.BasePath "/secret.yaml") .root | sha256sum }}
  {{- end }}
  {{- with (index .root.Values .component).podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- include "touchline.componentLabels" . | nindent 2 }}
{{- end }}

{{- define "touchline.podSpec" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: {{ include "touchline.name" .root }}
automountServiceAccountToken: false
# Kubernetes would add variables named after Services, which could be taken for settings
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $values.terminationGraceS }}
securityContext:
  {{- include "touchline.podSecurity" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "touchline.selector" . | nindent 8 }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "touchline.container" -}}
{{- $values := index .root.Values .component -}}
name: {{ .component }}
image: {{ include "touchline.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  {{- include "touchline.containerSecurity" . | nindent 2 }}
resources:
  {{- toYaml $values.resources | nindent 2 }}
{{- if $values.preStopS }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ $values.preStopS }}
{{- end }}
envFrom:
  - configMapRef:
      name: {{ include "touchline.name" .root }}
  {{- if ne .component "dashboard" }}
  - secretRef:
      name: {{ include "touchline.secretName" .root }}
  {{- with .root.Values.artifacts.existingSecret }}
  - secretRef:
      name: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}

{{/* The uid of infra/docker/Dockerfile. */}}
{{- define "touchline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "touchline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "touchline.scratchMounts" -}}
- name: scratch
  mountPath: /var/lib/touchline
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "touchline.scratchVolumes" -}}
- name: scratch
  emptyDir:
    sizeLimit: {{ (index .root.Values .component).scratchSize }}
- name: tmp
  emptyDir:
    sizeLimit: 1Gi
{{- end }}

{{- define "touchline.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "touchline.name" .root }}-{{ .component }}
  labels:
    {{- include "touchline.componentLabels" . | nindent 4 }}
spec:
  # not minAvailable: that would keep a node from ever being drained when there is one replica
  maxUnavailable: {{ (index .root.Values .component).maxUnavailable }}
  selector:
    matchLabels:
      {{- include "touchline.selector" . | nindent 6 }}
{{- end }}
