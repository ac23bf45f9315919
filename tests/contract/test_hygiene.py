"""What a careful operator looks for first: one version, locks with hashes, a bill of materials, a licence."""

import configparser
import json
import re
from pathlib import Path

import pytest

from app import __version__
from infra.tools.sbom import IMAGES, LOCKS, ROOT, installed_requirements, write_sbom

pytestmark = pytest.mark.timeout(900)  # the tool imports for a while on a busy machine


def test_the_version_is_the_same_everywhere() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == __version__
    chart = (ROOT / "infra" / "helm" / "touchline" / "Chart.yaml").read_text()
    assert f"\nversion: {__version__}\n" in chart
    assert f'\nappVersion: "{__version__}"\n' in chart
    changes = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## (?!Unreleased$)(?:Unreleased: )?(\S+?)(?::.*)?$", changes, re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__


@pytest.mark.parametrize("lock", sorted((ROOT / "infra" / "requirements").glob("*.txt")), ids=lambda lock: lock.stem)
def test_every_requirement_of_a_lock_has_hashes(lock: Path) -> None:
    requirements = re.split(r"\n(?=\S)", lock.read_text().strip())
    assert requirements
    assert [line.split()[0] for line in requirements if "--hash=sha256:" not in line] == []
    assert [line.split()[0] for line in requirements if "==" not in line] == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_installs_each_package_of_its_lock_once(image: str) -> None:
    lock = (LOCKS / f"{IMAGES[image]}.txt").read_text()
    names = [line.split("==")[0] for line in installed_requirements(lock)]
    assert "pydantic" in names
    assert len(names) == len(set(names))  # of two versions for two Pythons an image has one
    assert "async-timeout" not in names  # only for an older 3.11
    assert set(names) <= set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))


def test_the_bill_of_materials_of_an_image_has_what_its_lock_installs(tmp_path: Path) -> None:
    document = json.loads(write_sbom("api", tmp_path).read_text())
    installed = {line.split("==")[0] for line in installed_requirements((LOCKS / "api.txt").read_text())}
    assert {part["name"] for part in document["components"]} == installed
    assert len(document["components"]) == len(installed)
    component = document["metadata"]["component"]
    assert (component["name"], component["version"]) == ("touchline-api", __version__)


def test_the_licence_is_the_one_that_the_package_names() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["license"] == "MIT"
    assert (ROOT / setup["metadata"]["license_files"]).read_text().startswith("MIT License\n")
