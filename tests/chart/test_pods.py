"""What every pod must have, whatever the values."""

import configparser

import pytest

from app.process_pool import STOP_S
from app.server import SHUTDOWN_TIMEOUT_S
from tests.chart.chart import ROOT, Helm, Rendered

pytestmark = pytest.mark.timeout(600)
OURS = ("api", "worker", "pipeline", "dashboard", "test")


def test_each_pod_meets_the_restricted_standard(rendered: Rendered) -> None:
    """Pod Security Standard "restricted", and a read-only root on top."""
    for pod in rendered.pods.values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert not any("hostPath" in volume for volume in spec.get("volumes", ()))
    for _, container in rendered.containers():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_no_pod_gets_a_token_or_service_variables(rendered: Rendered) -> None:
    for pod in rendered.pods.values():
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False


def test_each_container_says_what_it_needs(rendered: Rendered) -> None:
    for _, container in rendered.containers():
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_each_image_of_ours_is_tagged_with_the_version_of_the_app(rendered: Rendered) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    images = [container["image"] for component, container in rendered.containers() if component in OURS]
    assert images
    assert {image.rsplit(":", 1)[1] for image in images} == {setup["metadata"]["version"]}


def test_registry_repository_and_tag_make_the_image(helm: Helm) -> None:
    rendered = helm.render('image={"registry": "r.example:5000", "repository": "a/touchline", "tag": "1.2.3-rc1"}')
    assert rendered.container("worker")["image"] == "r.example:5000/a/touchline-worker:1.2.3-rc1"


def test_who_is_called_is_probed(rendered: Rendered) -> None:
    """Startup first, so that a slow first snapshot is no reason for a restart."""
    for component in {"api", "dashboard", "redis", "postgres"} & rendered.pods.keys():
        container = rendered.container(component)
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        startup, liveness = container["startupProbe"], container["livenessProbe"]
        assert startup["failureThreshold"] * startup["periodSeconds"] >= 120
        assert liveness["failureThreshold"] * liveness["periodSeconds"] >= 30


def test_an_update_waits_for_the_models_but_no_redis_restarts_a_worker(rendered: Rendered) -> None:
    container = rendered.container("worker")
    assert container["readinessProbe"]["exec"]["command"] == ["python", "-m", "worker.healthcheck"]
    assert "livenessProbe" not in container


def test_a_dependency_away_drains_the_api_but_does_not_restart_it(rendered: Rendered) -> None:
    container = rendered.container("api")
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["startupProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz?need=reads"


def test_each_named_port_exists(rendered: Rendered) -> None:
    """In probes and behind Services."""
    for _, container in rendered.containers():
        ports = {port["name"] for port in container.get("ports", ())}
        probes = [container[key] for key in container if key.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes if "httpGet" in probe} <= ports
    for service in rendered.all("Service"):
        container = rendered.container(service["spec"]["selector"]["app.kubernetes.io/component"])
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        assert wanted == {port["name"] for port in container["ports"]}


def test_the_kill_comes_after_the_process_has_stopped_by_itself(rendered: Rendered) -> None:
    """aiohttp waits for handlers, cancels them, and waits once more."""
    spec = rendered.pods["api"]["spec"]
    pre_stop_s = rendered.container("api")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] > pre_stop_s + 2 * SHUTDOWN_TIMEOUT_S
    assert rendered.pods["worker"]["spec"]["terminationGracePeriodSeconds"] > STOP_S


def test_scratch_space_is_bounded(rendered: Rendered) -> None:
    for pod in rendered.pods.values():
        for volume in pod["spec"].get("volumes", ()):
            assert "persistentVolumeClaim" in volume or volume["emptyDir"]["sizeLimit"]


def test_what_is_written_has_a_place(rendered: Rendered) -> None:
    """The root is read-only, so the home and the temporary folder are mounts."""
    for component in {"api", "worker", "dashboard"} & rendered.pods.keys():
        mounts = {mount["mountPath"]: mount for mount in rendered.container(component)["volumeMounts"]}
        assert {"/tmp", "/var/lib/touchline"} <= mounts.keys()
        assert rendered.environment(component)["TOUCHLINE_HOME"] == "/var/lib/touchline"


def test_each_deployment_may_be_drained(rendered: Rendered) -> None:
    budgets = {m["metadata"]["name"]: m["spec"] for m in rendered.all("PodDisruptionBudget")}
    deployments = {m["metadata"]["name"] for m in rendered.all("Deployment")}
    assert budgets.keys() == deployments
    assert all("maxUnavailable" in spec and "minAvailable" not in spec for spec in budgets.values())


def test_the_autoscaler_owns_the_replicas(helm: Helm) -> None:
    """A Deployment that states them too would undo the autoscaler at each upgrade."""
    fixed = helm.render("api.replicas=3")
    assert fixed.one("Deployment", "-api")["spec"]["replicas"] == 3
    assert not fixed.all("HorizontalPodAutoscaler")
    scaled = helm.render("api.autoscaling.enabled=true", "api.autoscaling.maxReplicas=9")
    assert "replicas" not in scaled.one("Deployment", "-api")["spec"]
    scaler = scaled.one("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == "rel-touchline-api"
    assert scaler["maxReplicas"] == 9


def test_placement_reaches_the_pod_it_was_meant_for(helm: Helm) -> None:
    rendered = helm.render('worker.nodeSelector={"disk": "fast"}', 'worker.podAnnotations={"a/b": "c"}')
    assert rendered.pods["worker"]["spec"]["nodeSelector"] == {"disk": "fast"}
    assert rendered.pods["worker"]["metadata"]["annotations"]["a/b"] == "c"
    assert "nodeSelector" not in rendered.pods["api"]["spec"]
