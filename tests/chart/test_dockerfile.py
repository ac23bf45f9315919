"""The Dockerfile: lint, and what the chart takes for granted about the images."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.chart import ROOT, VALUES, Helm

pytestmark = pytest.mark.timeout(600)
DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"
STAGES = {
    words[-1]: body
    for head, body in re.findall(r"^FROM (.*)\n((?:(?!FROM ).*\n)*)", DOCKERFILE.read_text(), re.MULTILINE)
    for words in (head.split(),)
}
TARGETS = ("api", "worker", "pipeline", "dashboard")
SMALL = next(path for path in VALUES if path.stem == "small")
LOCKS = ("worker", "drift")  # a worker may be built with either


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    """The linter of this environment."""
    binary = Path(sys.executable).with_name("hadolint")
    return subprocess.run([binary, dockerfile], capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_has_nothing_to_say() -> None:
    answer = hadolint(DOCKERFILE)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_hadolint_would_notice(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text() + "CMD python -m app\n")
    assert "DL3025" in hadolint(bad).stdout


def test_there_is_an_image_for_each_component(helm: Helm) -> None:
    images = {helm.render(values=SMALL).container(target)["image"] for target in TARGETS}
    assert {image.split(":")[0].removeprefix("touchline-") for image in images} == set(TARGETS)
    assert set(TARGETS) <= STAGES.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_the_uid_is_the_one_of_the_chart(helm: Helm, target: str) -> None:
    security = helm.render(values=SMALL).pods[target]["spec"]["securityContext"]
    assert f"USER {security['runAsUser']}:{security['runAsGroup']}\n" in STAGES[target]


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_copied_is_there_and_sent_to_the_builder(target: str) -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", STAGES[target] + STAGES[f"packages-{target}"], re.MULTILINE)
    sources = [source for copy in copies for lock in LOCKS for source in copy.replace("${WORKER_LOCK}", lock).split()]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source == path or source.startswith(f"{path}/") for path in allowed)


@pytest.mark.parametrize(
    ("target", "without"),
    [
        ("api", ("mlflow", "xgboost-cpu", "panel")),
        ("worker", ("panel",)),
        ("pipeline", ("panel", "asyncpg")),
        ("dashboard", ("mlflow",)),
    ],
)
def test_no_image_carries_what_its_process_never_loads(target: str, without: tuple[str, ...]) -> None:
    (lock,) = re.findall(r"^COPY (infra/requirements/\S+) ", STAGES[f"packages-{target}"], re.MULTILINE)
    for name in LOCKS:
        text = (ROOT / lock.replace("${WORKER_LOCK}", name)).read_text()
        packages = {re.split(r"\[|==", line)[0] for line in text.splitlines() if "==" in line}
        assert "pydantic" in packages
        assert not packages & set(without)


def test_a_worker_makes_drift_reports_when_it_is_built_to() -> None:
    assert re.search(r"^ARG WORKER_LOCK=worker$", DOCKERFILE.read_text(), re.MULTILINE)
    assert "evidently==" in (ROOT / "infra/requirements/drift.txt").read_text()


def test_every_install_demands_hashes() -> None:
    installs = re.findall(r"pip .*install .*", DOCKERFILE.read_text())
    assert len(installs) == len(TARGETS)
    assert all(" --require-hashes " in line for line in installs)


@pytest.mark.parametrize("target", ["api", "dashboard"])
def test_the_healthcheck_asks_what_the_liveness_probe_asks(helm: Helm, target: str) -> None:
    probe = helm.render().container(target)["livenessProbe"]["httpGet"]
    assert f"'{probe['path']}'" in STAGES[target].split("HEALTHCHECK")[1]


def test_the_api_image_does_not_say_the_words_that_open_it() -> None:
    assert not re.search(r"^(ENV|ARG).*APP_ALLOW_PUBLIC", DOCKERFILE.read_text(), re.MULTILINE)
