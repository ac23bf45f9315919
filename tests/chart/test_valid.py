"""The chart is what helm and Kubernetes call valid."""

from pathlib import Path

import kubernetes_validate
import pytest

from tests.chart.chart import FOLDER, VALUES, Helm, Rendered
from tests.chart.crds import MODULES

# the first test may have to fetch helm
pytestmark = pytest.mark.timeout(600)
# the oldest the chart promises (Chart.yaml, kubeVersion), and the newest there is
KUBERNETES = ("1.30", "1.37")


def validate(rendered: Rendered, kube: str) -> None:
    """A kind without a schema raises too, so nothing passes unseen; the operators' kinds have a test of their own."""
    for manifest in rendered.manifests:
        if manifest["kind"] in MODULES:
            continue
        kubernetes_validate.validate(manifest, kube, strict=True)


@pytest.mark.parametrize("values", [None, *VALUES], ids=lambda path: path.stem if path else "defaults")
def test_lint_is_clean(helm: Helm, values: Path | None) -> None:
    flags = ["-f", str(values)] if values else []
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(FOLDER), *flags)


@pytest.mark.parametrize("kube", KUBERNETES)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_kubernetes_takes_every_manifest(helm: Helm, values: Path, kube: str) -> None:
    rendered = helm.render(values=values, kube=kube)
    assert len(rendered.manifests) > 8
    validate(rendered, kube)


def test_validation_would_notice(helm: Helm) -> None:
    """A misspelt field and an unknown kind do not pass."""
    rendered = helm.render()
    rendered.container("api")["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        validate(rendered, "1.37")
    unknown = Rendered([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob"}])
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        validate(unknown, "1.37")


def test_names_are_unique_and_short_enough(helm: Helm) -> None:
    long = "a" * 53  # the longest release name helm allows
    text = helm.run("template", long, str(FOLDER), "-f", str(VALUES[0]))
    names = [line.split()[1] for line in text.splitlines() if line.startswith("  name: ")]
    assert names
    assert max(map(len, names)) <= 63


def test_no_two_manifests_share_a_name(rendered: Rendered) -> None:
    names = [(m["kind"], m["metadata"]["name"]) for m in rendered.manifests]
    assert len(names) == len(set(names))


def test_each_selector_finds_its_pods_and_no_others(rendered: Rendered) -> None:
    """A Service, NetworkPolicy or PodDisruptionBudget that selects nothing is silent in a cluster."""
    selectors = [
        (m["metadata"]["labels"]["app.kubernetes.io/component"], s)
        for m in rendered.manifests
        for s in (_selector(m),)
        if s and m["kind"] not in MODULES  # these choose Services and several components
    ]
    assert len(selectors) >= 5
    for component, selector in selectors:
        found = [name for name, pod in rendered.pods.items() if selector.items() <= pod["metadata"]["labels"].items()]
        assert found == [component]


def _selector(manifest: dict) -> dict[str, str] | None:
    spec = manifest.get("spec", {})
    selector = spec.get("selector") or spec.get("podSelector")
    return selector.get("matchLabels", selector) if selector else None


def test_each_reference_exists(rendered: Rendered) -> None:
    """ConfigMaps, Secrets, claims and accounts that pods name are in the release, or were named by the operator."""
    here = {(m["kind"], m["metadata"]["name"]) for m in rendered.manifests}
    given = {("Secret", "touchline-production"), ("Secret", "bucket-keys"), ("PersistentVolumeClaim", "artifacts")}
    wanted = {reference for pod in rendered.pods.values() for reference in _references(pod["spec"])}
    assert wanted
    assert wanted <= here | given


def _references(spec: dict) -> list[tuple[str, str]]:
    account = [("ServiceAccount", spec["serviceAccountName"])] if "serviceAccountName" in spec else []
    sources = [source for container in spec["containers"] for source in container.get("envFrom", ())]
    maps = [("ConfigMap", s["configMapRef"]["name"]) for s in sources if "configMapRef" in s]
    secrets = [("Secret", s["secretRef"]["name"]) for s in sources if "secretRef" in s]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in spec.get("volumes", ()) if "persistentVolumeClaim" in v]
    return [*account, *maps, *secrets, *(("PersistentVolumeClaim", claim) for claim in claims)]
