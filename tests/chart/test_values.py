"""Values that would not work are refused before anything is installed."""

import pytest

from tests.chart.chart import FOLDER, Helm, Refused

pytestmark = pytest.mark.timeout(600)

# what was written, and a word of the complaint
BAD = [
    ("api.replicas=-1", "replicas"),
    ('api.replicas="one"', "replicas"),
    ("api.replcas=2", "replcas"),
    ("apis={}", "apis"),
    ("config.QUERY_TIMEOUT=5", "QUERY_TIMEOUT"),
    ("config.QUERY_TIMEOUT_S=0", "QUERY_TIMEOUT_S"),
    ('config.QUEUE_LIMIT="many"', "QUEUE_LIMIT"),
    ('config.LOG_FORMAT="xml"', "LOG_FORMAT"),
    ('config.APP_HOST="127.0.0.1"', "APP_HOST"),
    ('config.REDIS_URL="redis://:pw@redis"', "REDIS_URL"),
    ('secret.PASSWORD="x"', "PASSWORD"),
    ('artifacts.uri="https://bucket/prefix"', "uri"),
    ('artifacts.persistence.size="5 GB"', "size"),
    ('artifacts.persistence.accessModes=["Any"]', "accessModes"),
    ('image.tag="a b"', "tag"),
    ('image.pullPolicy="Sometimes"', "pullPolicy"),
    ('existingSecret="My Secret"', "existingSecret"),
    ("worker.processes=0", "processes"),
    ("worker.maxUnavailable=0", "maxUnavailable"),
    ("worker.resources.limit={}", "limit"),
    ('redis.image="valkey/valkey:latest"', "image"),
    ('redis.image="valkey/valkey"', "image"),
    ("networkPolicy.apiFrom=[{}]", "apiFrom"),
    ("api.autoscaling.targetCPUPercent=0", "targetCPUPercent"),
]


@pytest.mark.parametrize(("value", "complaint"), BAD, ids=[value for value, _ in BAD])
def test_the_schema_refuses(helm: Helm, value: str, complaint: str) -> None:
    with pytest.raises(Refused, match="meet the specifications of the schema") as refused:
        helm.render(value)
    assert complaint in str(refused.value)


# what was written beside the least that works, and what helm then says
TOGETHER = [
    (['existingSecret="mine"'], "one of them, not both"),
    (['secret.API_KEYS=""'], "no API keys"),
    (["ingress.enabled=true", 'ingress.hosts.dashboard="p.example"'], "set secret.DASHBOARD_PASSWORD"),
    (["api.open=true"], "keys, or open to all"),
    (['secret.API_KEYS=""', "api.open=true", "networkPolicy.enabled=false"], "needs networkPolicy.enabled"),
    (['secret.API_KEYS=""', "api.open=true", "ingress.enabled=true", 'ingress.hosts.api="a.example"'], "stays inside"),
    (["postgres.enabled=true", 'secret.DATABASE_URL="x"'], "one database"),
    (["redis.enabled=true"], "one Redis, not both"),
    (['secret.REDIS_URL=""'], "no Redis"),
    (['secret.REDIS_URL=""', "redis.enabled=true", "networkPolicy.enabled=false"], "needs networkPolicy.enabled"),
    (['artifacts.persistence.size="5Gi"'], "one of them, not both"),
    (['artifacts.uri=""'], "no artifacts"),
    (['config.MLFLOW_TRACKING_URI=""'], "no model registry"),
    (["api.autoscaling.enabled=true", "api.autoscaling.minReplicas=7"], "minReplicas is more than maxReplicas"),
]


@pytest.mark.parametrize(("values", "complaint"), TOGETHER, ids=[" ".join(values) for values, _ in TOGETHER])
def test_values_that_do_not_go_together_are_refused(helm: Helm, values: list[str], complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        helm.render(*values)


def test_the_defaults_alone_say_what_is_missing(helm: Helm) -> None:
    with pytest.raises(Refused, match="no API keys: set"):
        helm.run("template", "rel", str(FOLDER))


def test_an_old_cluster_is_refused(helm: Helm) -> None:
    with pytest.raises(Refused, match="kubeVersion"):
        helm.render(kube="1.29")
