"""compose.yaml: what it says to our processes is what they read, and nothing is published beyond the machine."""

import re
from typing import Any

import pytest
import yaml

from app.settings import Settings
from tests.chart.chart import ROOT
from tests.chart.test_dockerfile import STAGES

FILE = ROOT / "infra" / "docker" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
FIELDS = {name.upper() for name in Settings.model_fields}


def test_ours_are_built_from_the_stages_there_are() -> None:
    assert OURS.keys() == {"api", "worker", "pipeline", "dashboard"}
    for name, service in OURS.items():
        assert service["build"]["target"] == name
        assert name in STAGES
        assert (FILE.parent / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", OURS)
def test_each_variable_is_a_setting_with_a_value_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {key: value for key, value in OURS[name]["environment"].items() if not key.startswith("AWS_")}
    assert environment.keys() <= FIELDS
    for key in FIELDS:
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert Settings().log_format == "json"


@pytest.mark.parametrize("name", OURS)
def test_ours_run_as_nobody_on_a_root_they_cannot_write(name: str) -> None:
    service = OURS[name]
    assert (service["read_only"], service["user"], service["cap_drop"]) == (True, "10001:10001", ["ALL"])
    assert service["volumes"] == [f"{name}:/var/lib/touchline"]


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) >= 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_each_host_in_a_setting_is_a_service_and_each_volume_is_declared() -> None:
    hosts = set(re.findall(r"(?:://|@)([a-z]+):\d+", FILE.read_text()))
    assert hosts <= SERVICES.keys()
    mounts = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {mount for mount in mounts if not mount.startswith("..")} == COMPOSE["volumes"].keys()
    assert all((FILE.parent / mount).is_dir() for mount in mounts if mount.startswith(".."))


def test_each_image_of_others_has_a_version() -> None:
    images = [service["image"] for name, service in SERVICES.items() if name not in OURS]
    assert len(images) == 6
    assert all(re.search(r":v?\d+\.?\d*", image) for image in images)


def test_prometheus_scrapes_the_ports_of_ours() -> None:
    jobs = yaml.safe_load((ROOT / "infra" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {target for job in jobs for static in job["static_configs"] for target in static["targets"]}
    assert targets == {"api:8000", "worker:8001", "dashboard:5006"}
