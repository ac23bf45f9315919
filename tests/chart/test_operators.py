"""What the chart asks of KEDA, the Prometheus operator and an ingress controller."""

import pytest
import yaml

from tests.chart.chart import FOLDER, ROOT, VALUES, Helm, Refused, Rendered
from tests.chart.crds import MODULES, CustomSchemas

pytestmark = pytest.mark.timeout(600)
PRODUCTION = next(path for path in VALUES if path.stem == "production")
SMALL = next(path for path in VALUES if path.stem == "small")


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> CustomSchemas:
    """The operators' own schemas."""
    return CustomSchemas(tmp_path_factory.mktemp("schemas"))


@pytest.fixture(scope="module")
def production(helm: Helm) -> Rendered:
    """The chart with everything an operator reads."""
    return helm.render(values=PRODUCTION)


def test_the_operators_take_every_custom_resource(production: Rendered, schemas: CustomSchemas) -> None:
    custom = [manifest for manifest in production.manifests if manifest["kind"] in MODULES]
    assert {manifest["kind"] for manifest in custom} == MODULES.keys()
    assert [schemas.complaint(manifest) for manifest in custom] == [""] * len(custom)


def test_their_schemas_would_notice(production: Rendered, schemas: CustomSchemas) -> None:
    scaled = production.one("ScaledObject")
    broken = {**scaled, "spec": {**scaled["spec"], "maxReplicaCount": "many"}}
    assert "maxReplicaCount" in schemas.complaint(broken)


def test_keda_owns_the_replicas_of_workers(production: Rendered, helm: Helm) -> None:
    assert "replicas" not in production.one("Deployment", "-worker")["spec"]
    assert production.one("ScaledObject")["spec"]["scaleTargetRef"]["name"] == "rel-touchline-worker"
    assert helm.render().one("Deployment", "-worker")["spec"]["replicas"] == 2


def test_keda_measures_the_queue_that_the_settings_name(helm: Helm) -> None:
    sets = ("worker.autoscaling.enabled=true", 'config.QUEUE_NAME="other:queue"')
    (trigger,) = helm.render(*sets, values=SMALL).one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["listName"] == "other:queue"
    assert trigger["metadata"]["address"] == "rel-touchline-redis.default.svc:6379"


def test_a_monitor_finds_its_pods_and_ports(production: Rendered) -> None:
    for kind, what in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints")):
        spec = production.one(kind)["spec"]
        (expression,) = spec["selector"]["matchExpressions"]
        for component in expression["values"]:
            ports = {port["name"] for port in production.container(component)["ports"]}
            assert {endpoint["port"] for endpoint in spec[what]} <= ports
            assert spec["selector"]["matchLabels"].items() <= production.pods[component]["metadata"]["labels"].items()


def test_prometheus_may_read_the_workers_only_when_it_is_named(helm: Helm) -> None:
    assert helm.render().one("NetworkPolicy", "-worker")["spec"]["ingress"] == []
    rule = helm.render('networkPolicy.metricsFrom=[{"podSelector": {}}]').one("NetworkPolicy", "-worker")
    assert rule["spec"]["ingress"] == [{"ports": [{"port": "metrics"}], "from": [{"podSelector": {}}]}]


def test_rules_and_dashboards_are_the_ones_of_the_repository(production: Rendered) -> None:
    rules = yaml.safe_load((ROOT / "infra" / "prometheus" / "rules.yaml").read_text())
    assert production.one("PrometheusRule")["spec"] == rules
    boards = {path.name: path.read_text() for path in (ROOT / "infra" / "grafana").glob("*.json")}
    assert boards
    assert production.one("ConfigMap", "-grafana")["data"].keys() == boards.keys()


def test_the_ingress_leads_to_services_that_exist(production: Rendered) -> None:
    ports = {m["metadata"]["name"]: {p["name"] for p in m["spec"]["ports"]} for m in production.all("Service")}
    rules = production.one("Ingress")["spec"]["rules"]
    assert [rule["host"] for rule in rules] == ["api.football.example", "football.example"]
    for rule in rules:
        (path,) = rule["http"]["paths"]
        assert path["backend"]["service"]["port"]["name"] in ports[path["backend"]["service"]["name"]]


def test_the_release_may_bring_its_own_database(helm: Helm) -> None:
    sets = ("postgres.enabled=true", 'postgres.password="p@ss/word"')
    rendered = helm.render(*sets)
    service = rendered.one("Service", "-postgres")["metadata"]["name"]
    url = rendered.one("Secret", "touchline")["stringData"]["DATABASE_URL"]
    assert url == f"postgresql://touchline:p%40ss%2Fword@{service}:5432/touchline"
    assert rendered.one("Secret", "-postgres")["stringData"] == {"POSTGRES_PASSWORD": "p@ss/word"}
    assert rendered.container("postgres")["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("postgres.enabled=true", "set postgres.password"),
        ("ingress.enabled=true", "set ingress.hosts"),
        ("worker.autoscaling.enabled=true", "set redisAddress or prometheusAddress"),
    ],
)
def test_half_a_wish_is_refused(helm: Helm, value: str, complaint: str) -> None:
    with pytest.raises(Refused, match=complaint):
        helm.render(value)


def test_a_packaged_chart_carries_rules_and_dashboards(helm: Helm, tmp_path: object) -> None:
    """They lie outside the chart's folder, behind links."""
    helm.run("package", str(FOLDER), "--destination", str(tmp_path))
    text = helm.run("template", "rel", f"{tmp_path}/touchline-0.2.0.tgz", "-f", str(PRODUCTION))
    assert "kind: PrometheusRule" in text
    assert "groups:" in text
