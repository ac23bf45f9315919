"""The pipeline's CronJob: one refresh at a time, on the volume that the API reads, for leagues that somebody named."""

import pytest

from tests.chart.chart import VALUES, Helm, Refused

pytestmark = pytest.mark.timeout(600)
SMALL = next(path for path in VALUES if path.stem == "small")


def test_one_refresh_at_a_time_by_the_clock_of_utc(helm: Helm) -> None:
    job = helm.render(values=SMALL).one("CronJob")
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    assert (job["spec"]["schedule"], job["spec"]["timeZone"]) == ("0 6,18 * * *", "Etc/UTC")
    moved = helm.render('pipeline.schedule="30 4 * * *"', values=SMALL).one("CronJob")
    assert moved["spec"]["schedule"] == "30 4 * * *"


def test_it_writes_where_the_api_reads_and_keeps_what_it_fetched(helm: Helm) -> None:
    rendered = helm.render(values=SMALL)
    ours, api = rendered.container("pipeline"), rendered.container("api")
    assert ours["args"] == ["once"]
    (mount,) = (each for each in ours["volumeMounts"] if each["name"] == "artifacts")
    (read,) = (each for each in api["volumeMounts"] if each["name"] == "artifacts")
    assert (mount["mountPath"], mount.get("readOnly", False)) == (read["mountPath"], False)
    assert read["readOnly"] is True
    environment = rendered.environment("pipeline")
    assert environment["ARTIFACTS_URI"] == mount["mountPath"]
    # the fetched files outlive the pod, or the site would be asked for everything at each refresh
    assert environment["TOUCHLINE_HOME"].startswith(mount["mountPath"] + "/")
    assert environment["SOURCE_LEAGUES"] == "E0,SP1"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (('config.SOURCE_LEAGUES=""',), "set config.SOURCE_LEAGUES"),
        (('artifacts={"uri": "s3://bucket/prefix", "persistence": {"size": ""}}',), "needs artifacts.persistence"),
    ],
)
def test_without_a_source_or_a_volume_the_chart_says_so(helm: Helm, values: tuple[str, ...], said: str) -> None:
    with pytest.raises(Refused, match=said):
        helm.render(*values, values=SMALL)


def test_there_is_none_unless_it_is_asked_for(helm: Helm) -> None:
    assert not helm.render().all("CronJob")
