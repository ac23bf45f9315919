"""Precomputed predictions, odds and facets over HTTP."""

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from app.artifacts.contract import ODDS, PREDICTIONS
from app.schemas import FacetsOut, OddsListOut, PredictionDetailOut, PredictionsOut
from tests.support.build_artifacts import FIRST_ID, write_artifacts
from tests.support.serving import Client, Serve, json_of


async def test_every_prediction_is_listed_as_the_pipeline_wrote_it(client: Client, artifacts: Path) -> None:
    """Ids larger than a double can hold and probabilities come through to the last digit."""
    listed = PredictionsOut.model_validate_json(await (await client.get("/predict/predictions/")).read())
    written = pq.read_table(artifacts / PREDICTIONS).sort_by([("kickoff_utc", "ascending")]).to_pylist()
    assert listed.count == len(listed.items) == len(written)
    for item, row in zip(listed.items, written, strict=True):
        assert (item.match_id, item.kickoff_utc, item.home_team) == (
            row["match_id"],
            row["kickoff_utc"],
            row["home_team"],
        )
        assert (item.probabilities.home, item.probabilities.draw, item.probabilities.away) == (
            row["proba_home"],
            row["proba_draw"],
            row["proba_away"],
        )
        assert item.outcome == (None if row["outcome"] is None else ("home", "draw", "away")[row["outcome"]])
        assert item.predicted == ("home", "draw", "away")[row["predicted_class"]]
        assert (item.in_sample, item.model.stage, item.computed_at) == (
            row["in_sample"],
            row["model_stage"],
            row["computed_at"],
        )


@pytest.mark.parametrize("path", ["/predict/predictions/", "/predict/cards/"])
async def test_kickoff_whose_time_was_not_published_is_marked_in_every_form(
    serve: Serve, tmp_path: Path, path: str
) -> None:
    def only_some(table: pa.Table) -> pa.Table:
        return table.append_column("has_time", pa.array([i % 3 > 0 for i in range(len(table))]))

    folder = write_artifacts(tmp_path / "timed", edit={PREDICTIONS: only_some})
    client = await serve(artifacts_uri=str(folder))
    expected = {FIRST_ID + i: i % 3 > 0 for i in range(60)}
    items = (await json_of(client, path))["items"]
    assert {item["match_id"]: item["kickoff_known"] for item in items} == expected
    for media, read in (("text/csv", pa_csv.read_csv), ("application/vnd.apache.arrow.stream", arrow_of)):
        response = await client.get(path, headers={"Accept": media})
        table = read(BytesIO(await response.read()))
        assert dict(zip(table["match_id"].to_pylist(), table["kickoff_known"].to_pylist(), strict=True)) == expected


def arrow_of(raw: BytesIO) -> pa.Table:
    return pa.ipc.open_stream(raw).read_all()


async def test_every_kickoff_counts_as_published_where_the_artifacts_do_not_say(client: Client) -> None:
    assert all(item["kickoff_known"] for item in (await json_of(client, "/predict/cards/"))["items"])


async def test_one_prediction_is_the_same_as_in_the_list(client: Client) -> None:
    listed = (await json_of(client, "/predict/predictions/"))["items"][7]
    found = await json_of(client, f"/predict/precomputed/{listed['match_id']}")
    PredictionDetailOut.model_validate_json(await (await client.get(f"/predict/precomputed/{FIRST_ID}")).read())
    assert found.pop("snapshot")["simulated"] is True
    assert found == listed


async def test_prediction_of_an_unknown_match_is_404(client: Client) -> None:
    response = await client.get("/predict/precomputed/1")
    assert (response.status, (await response.json())["code"]) == (404, "match-not-found")


async def test_odds_are_those_collected_and_say_when(client: Client, artifacts: Path) -> None:
    listed = OddsListOut.model_validate_json(await (await client.get("/predict/odds/")).read())
    written = {row["match_id"]: row for row in pq.read_table(artifacts / ODDS).to_pylist()}
    assert listed.count == len(listed.items) == len(written)
    for item in listed.items:
        row = written[item.match_id]
        assert (item.odds.home, item.odds.draw, item.odds.away) == (
            row["odds_home"],
            row["odds_draw"],
            row["odds_away"],
        )
        assert item.captured_at == row["captured_at"]
        assert item.overround == pytest.approx(sum(1 / row[f"odds_{side}"] for side in ("home", "draw", "away")) - 1)


async def test_facets_count_every_match_once(client: Client) -> None:
    facets = FacetsOut.model_validate_json(await (await client.get("/predict/facets/")).read())
    assert sum(facet.n for facet in facets.items) == 60
    assert {facet.region for facet in facets.items} == {"England", "Scotland", "Italy"}


@pytest.mark.parametrize("path", ["/predict/predictions", "/predict/cards", "/predict/odds"])
async def test_address_without_its_last_slash_is_not_taken_for_a_match(client: Client, path: str) -> None:
    response = await client.get(path, params={"x": "1"}, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (308, f"{path}/?x=1")
