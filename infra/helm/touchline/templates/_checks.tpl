{{/* What the schema cannot say: values that only make sense together. */}}

{{- define "touchline.checks" -}}
{{- $v := .Values -}}
{{- $redis := or $v.existingSecret $v.secret.REDIS_URL -}}
{{- if and $v.existingSecret (values $v.secret | join "") }}
{{- fail "existingSecret and secret: one of them, not both" }}
{{- end }}
{{- if and $v.redis.enabled $v.secret.REDIS_URL }}
{{- fail "redis.enabled and secret.REDIS_URL: one Redis, not both" }}
{{- end }}
{{- if not (or $redis $v.redis.enabled) }}
{{- fail "no Redis: set secret.REDIS_URL, existingSecret or redis.enabled" }}
{{- end }}
{{- if and $v.redis.enabled (not $v.networkPolicy.enabled) }}
{{- fail "redis.enabled needs networkPolicy.enabled: the release's own Redis has no password" }}
{{- end }}
{{- $claim := include "touchline.claimName" . -}}
{{- if and $v.artifacts.uri $claim }}
{{- fail "artifacts.uri and artifacts.persistence: one of them, not both" }}
{{- end }}
{{- if not (or $v.artifacts.uri $claim) }}
{{- fail "no artifacts: set artifacts.uri, artifacts.persistence.existingClaim or artifacts.persistence.size" }}
{{- end }}
{{- if not $v.config.MLFLOW_TRACKING_URI }}
{{- fail "no model registry: set config.MLFLOW_TRACKING_URI" }}
{{- end }}
{{- if and $v.api.autoscaling.enabled (gt (int $v.api.autoscaling.minReplicas) (int $v.api.autoscaling.maxReplicas)) }}
{{- fail "api.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- end }}
