"""Who may reach whom."""

import pytest

from tests.chart.chart import VALUES, Helm, Manifest, Rendered

pytestmark = pytest.mark.timeout(600)
SMALL = next(path for path in VALUES if path.stem == "small")


def callers(policy: Manifest) -> set[str]:
    """The components a policy lets in."""
    peers = [peer for rule in policy["spec"]["ingress"] for peer in rule["from"]]
    return {peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in peers}


def test_only_those_who_must_may_call(helm: Helm) -> None:
    rendered = helm.render(values=SMALL)
    allowed = {m["metadata"]["name"].rsplit("-", 1)[1]: callers(m) for m in rendered.all("NetworkPolicy")}
    assert allowed == {
        "api": {"dashboard", "test"},
        "worker": set(),
        "dashboard": {"test"},
        "postgres": {"api"},
        "pipeline": set(),
        "redis": {"api", "worker", "pipeline"},
    }


def test_each_rule_names_its_callers_and_its_port(rendered: Rendered) -> None:
    """A rule without `from` lets in the world."""
    for policy in rendered.all("NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        for rule in policy["spec"]["ingress"]:
            assert rule["from"]
            assert rule["ports"]


def test_an_ingress_controller_is_let_in_by_name(helm: Helm) -> None:
    peer = '{"namespaceSelector": {"matchLabels": {"team": "edge"}}}'
    rendered = helm.render(f"networkPolicy.apiFrom=[{peer}]")
    rule = rendered.one("NetworkPolicy", "-api")["spec"]["ingress"][0]
    assert {"namespaceSelector": {"matchLabels": {"team": "edge"}}} in rule["from"]
    assert rule["from"] != rendered.one("NetworkPolicy", "-dashboard")["spec"]["ingress"][0]["from"]


def test_the_api_is_open_only_in_words(helm: Helm, rendered: Rendered) -> None:
    """It listens on every address of its pod, and refuses to without keys."""
    assert rendered.environment("api")["APP_HOST"] == "0.0.0.0"
    assert "APP_ALLOW_PUBLIC" not in helm.render().environment("api")
    assert helm.render(values=SMALL).environment("api")["APP_ALLOW_PUBLIC"] == "true"


def test_no_service_is_open_beyond_the_cluster(rendered: Rendered) -> None:
    assert {service["spec"].get("type", "ClusterIP") for service in rendered.all("Service")} == {"ClusterIP"}


def test_the_release_may_bring_its_own_redis(helm: Helm) -> None:
    rendered = helm.render(values=SMALL)
    service = rendered.one("Service", "-redis")["metadata"]["name"]
    assert rendered.environment("worker")["REDIS_URL"] == f"redis://{service}:6379/0"
    arguments = rendered.container("redis")["args"]
    assert arguments[arguments.index("--appendonly") + 1] == "yes"
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "noeviction"
    most_mb = int(arguments[arguments.index("--maxmemory") + 1].removesuffix("mb"))
    limit = rendered.container("redis")["resources"]["limits"]["memory"]
    assert 0 < most_mb * 1e6 < 0.75 * int(limit.removesuffix("Mi")) * 2**20
    (claim,) = rendered.one("StatefulSet", "-redis")["spec"]["volumeClaimTemplates"]
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in rendered.container("redis")["volumeMounts"]
    assert not helm.render().all("StatefulSet")


def test_artifacts_of_a_volume_are_read_only_in_the_api(helm: Helm) -> None:
    rendered = helm.render(values=SMALL)
    mounts = {mount["mountPath"]: mount for mount in rendered.container("api")["volumeMounts"]}
    folder = rendered.environment("api")["ARTIFACTS_URI"]
    assert mounts[folder]["readOnly"] is True
    assert rendered.one("PersistentVolumeClaim")["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_artifacts_of_a_bucket_need_no_volume(helm: Helm) -> None:
    rendered = helm.render('artifacts.uri="s3://bucket/prefix"')
    assert rendered.environment("api")["ARTIFACTS_URI"] == "s3://bucket/prefix"
    assert not rendered.all("PersistentVolumeClaim")
    assert {v["name"] for v in rendered.pods["api"]["spec"]["volumes"]} == {"scratch", "tmp"}


def test_helm_test_asks_each_service_there_is(rendered: Rendered) -> None:
    """By the name and port of the Service."""
    arguments = " ".join(rendered.container("test")["args"])
    for service in rendered.all("Service"):
        name, port = service["metadata"]["name"], service["spec"]["ports"][0]["port"]
        assert (f"http://{name}:{port}/" in arguments) == (not name.endswith(("redis", "postgres")))
    assert "dashboard" in rendered.pods or "dashboard" not in arguments
