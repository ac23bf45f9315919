"""Settings reach the processes, under the names and with the values that app/settings.py reads."""

import json

import pytest

from app.settings import Settings
from infra.tools import chart_schema
from tests.chart.chart import VALUES, Helm, Rendered

pytestmark = pytest.mark.timeout(600)
FIELDS = {name.upper() for name in Settings.model_fields}
OURS = {"api", "worker", "pipeline", "dashboard"}
SMALL = next(path for path in VALUES if path.stem == "small")


def settings(rendered: Rendered, component: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the process in the pod will read."""
    for name in FIELDS:
        monkeypatch.delenv(name, raising=False)
    for name, value in rendered.environment(component).items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_each_variable_is_a_setting(rendered: Rendered) -> None:
    for component in OURS & rendered.pods.keys():
        environment = rendered.environment(component)
        assert len(environment) > 5
        assert environment.keys() <= FIELDS
    for secret in rendered.all("Secret", "touchline"):
        assert secret["stringData"].keys() <= FIELDS


def test_the_settings_take_every_value(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    for component in OURS & rendered.pods.keys():
        assert settings(rendered, component, monkeypatch).log_format == "json"


def test_numbers_and_lists_arrive_as_they_were_written(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    """helm by itself would print two million as 2e+06, which is no integer."""
    rendered = helm.render(
        "config.QUEUE_LIMIT=2000000", 'config.MODEL_ALIASES=["champion", "next"]', "config.VALUE_EDGE=0.025"
    )
    read = settings(rendered, "worker", monkeypatch)
    assert read.queue_limit == 2_000_000
    assert read.model_aliases == ("champion", "next")
    assert read.value_edge == 0.025


def test_the_schema_knows_each_setting() -> None:
    """When this fails: python -m infra.tools.chart_schema."""
    schema = json.loads(chart_schema.SCHEMA.read_text())
    assert chart_schema.updated(schema) == schema


def test_what_the_schema_refuses_the_chart_sets(helm: Helm) -> None:
    """A setting that cannot be given in `config` must come from the chart itself."""
    open_api = helm.render(values=SMALL), helm.render()
    set_by_chart = set().union(
        *(rendered.environment(each) for rendered in open_api for each in OURS & rendered.pods.keys())
    )
    assert set_by_chart >= chart_schema.MANAGED


def test_no_password_is_in_a_config_map(rendered: Rendered) -> None:
    assert "pw@" not in json.dumps(rendered.all("ConfigMap"))
    assert "pw@" not in json.dumps(rendered.pods)


def test_the_match_page_gets_no_secret(rendered: Rendered) -> None:
    if "dashboard" in rendered.pods:
        assert not any("secretRef" in source for source in rendered.container("dashboard")["envFrom"])


def test_an_existing_secret_takes_the_place_of_ours(helm: Helm) -> None:
    rendered = helm.render(
        *[f'secret.{name}=""' for name in ("API_KEY", "API_KEYS", "REDIS_URL")], 'existingSecret="mine"'
    )
    assert not rendered.all("Secret")
    for component in ("api", "worker"):
        assert {"secretRef": {"name": "mine"}} in rendered.container(component)["envFrom"]


def checksums(rendered: Rendered, component: str) -> dict[str, str]:
    """The annotations that restart a pod."""
    annotations = rendered.pods[component]["metadata"]["annotations"]
    return {key: value for key, value in annotations.items() if key.startswith("checksum/")}


def test_a_changed_setting_restarts_the_pods(helm: Helm) -> None:
    before, same, after = helm.render(), helm.render(), helm.render('config.LOG_LEVEL="DEBUG"')
    for component in OURS - {"pipeline"}:
        assert checksums(before, component) == checksums(same, component)
        assert checksums(before, component)["checksum/config"] != checksums(after, component)["checksum/config"]


def test_a_changed_password_restarts_whom_it_concerns(helm: Helm) -> None:
    before, after = helm.render(), helm.render('secret.REDIS_URL="redis://:other@redis:6379/0"')
    for component in ("api", "worker"):
        assert checksums(before, component)["checksum/secret"] != checksums(after, component)["checksum/secret"]
    assert checksums(before, "dashboard") == checksums(after, "dashboard")
    rotated = helm.render('secret.API_KEY="other.secret"')
    assert checksums(before, "dashboard") != checksums(rotated, "dashboard")


def test_the_match_page_finds_the_api(helm: Helm) -> None:
    rendered = helm.render()
    service = rendered.one("Service", "-api")
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert rendered.environment("dashboard")["API_URL"] == url


def test_processes_listen_where_their_ports_are(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = helm.render()
    api, page = settings(rendered, "api", monkeypatch), settings(rendered, "dashboard", monkeypatch)
    assert [(api.app_host, api.app_port)] == [("0.0.0.0", _port(rendered, "api"))]
    assert [(page.dashboard_host, page.dashboard_port)] == [("0.0.0.0", _port(rendered, "dashboard"))]


def _port(rendered: Rendered, component: str) -> int:
    return rendered.container(component)["ports"][0]["containerPort"]


def test_match_page_behind_an_ingress_starts_only_with_a_password(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    ingress = ("ingress.enabled=true", 'ingress.hosts.dashboard="p.example"')
    inside = settings(helm.render(), "dashboard", monkeypatch)
    assert inside.dashboard_allow_public
    locked = settings(helm.render(*ingress, 'secret.DASHBOARD_PASSWORD="hunter2"'), "dashboard", monkeypatch)
    assert not locked.dashboard_allow_public
    opened = settings(helm.render(*ingress, "dashboard.open=true"), "dashboard", monkeypatch)
    assert opened.dashboard_allow_public
