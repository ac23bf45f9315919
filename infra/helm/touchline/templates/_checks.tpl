{{/* What the schema cannot say: values that only make sense together. */}}

{{- define "touchline.checks" -}}
{{- $v := .Values -}}
{{- $redis := or $v.existingSecret $v.secret.REDIS_URL -}}
{{- if and $v.existingSecret (values $v.secret | join "") }}
{{- fail "existingSecret and secret: one of them, not both" }}
{{- end }}
{{- if not (or $v.api.open $v.existingSecret $v.secret.API_KEYS) }}
{{- fail "no API keys: set secret.API_KEYS (scripts/keys makes them) and secret.API_KEY for the match page, or existingSecret, or api.open=true to serve without keys" }}
{{- end }}
{{- if and $v.api.open $v.secret.API_KEYS }}
{{- fail "api.open and secret.API_KEYS: keys, or open to all, not both" }}
{{- end }}
{{- if and $v.api.open (not $v.networkPolicy.enabled) }}
{{- fail "api.open needs networkPolicy.enabled: nothing else says who may use the API" }}
{{- end }}
{{- if and $v.api.open $v.ingress.enabled $v.ingress.hosts.api }}
{{- fail "api.open and ingress.hosts.api: an API without keys stays inside the cluster" }}
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
{{- if and $v.postgres.enabled (not $v.networkPolicy.enabled) }}
{{- fail "postgres.enabled needs networkPolicy.enabled: its connections are not encrypted" }}
{{- end }}
{{- if and $v.postgres.enabled $v.secret.DATABASE_URL }}
{{- fail "postgres.enabled and secret.DATABASE_URL: one database, not both" }}
{{- end }}
{{- if and $v.postgres.enabled (not (or $v.existingSecret $v.postgres.password)) }}
{{- fail "postgres.enabled: set postgres.password, or POSTGRES_PASSWORD and DATABASE_URL in existingSecret" }}
{{- end }}
{{- if and $v.ingress.enabled (not (or $v.ingress.hosts.api $v.ingress.hosts.dashboard)) }}
{{- fail "ingress.enabled: set ingress.hosts.api or ingress.hosts.dashboard" }}
{{- end }}
{{- if and $v.ingress.enabled $v.ingress.hosts.dashboard (not $v.dashboard.enabled) }}
{{- fail "ingress.hosts.dashboard: the match page is off (dashboard.enabled)" }}
{{- end }}
{{- $password := or $v.existingSecret $v.secret.DASHBOARD_PASSWORD }}
{{- if and $v.ingress.enabled $v.ingress.hosts.dashboard (not (or $password $v.dashboard.open)) }}
{{- fail "ingress.hosts.dashboard: set secret.DASHBOARD_PASSWORD, or dashboard.open=true to show the match page to everybody" }}
{{- end }}
{{- with $v.worker.autoscaling }}
{{- if and .enabled (not (or $v.redis.enabled .redisAddress .prometheusAddress)) }}
{{- fail "worker.autoscaling: set redisAddress or prometheusAddress, for the release has no Redis of its own" }}
{{- end }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "worker.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- end }}
{{- $claim := include "touchline.claimName" . -}}
{{- if and $v.artifacts.uri $claim }}
{{- fail "artifacts.uri and artifacts.persistence: one of them, not both" }}
{{- end }}
{{- if not (or $v.artifacts.uri $claim) }}
{{- fail "no artifacts: set artifacts.uri, artifacts.persistence.existingClaim or artifacts.persistence.size" }}
{{- end }}
{{- if and $v.pipeline.enabled (not $claim) }}
{{- fail "pipeline.enabled needs artifacts.persistence: it publishes to a volume, not to a bucket" }}
{{- end }}
{{- if and $v.pipeline.enabled (not $v.config.SOURCE_LEAGUES) }}
{{- fail "pipeline.enabled: set config.SOURCE_LEAGUES, the leagues that it fetches" }}
{{- end }}
{{- if not $v.config.MLFLOW_TRACKING_URI }}
{{- fail "no model registry: set config.MLFLOW_TRACKING_URI" }}
{{- end }}
{{- if and $v.api.autoscaling.enabled (gt (int $v.api.autoscaling.minReplicas) (int $v.api.autoscaling.maxReplicas)) }}
{{- fail "api.autoscaling: minReplicas is more than maxReplicas" }}
{{- end }}
{{- end }}
