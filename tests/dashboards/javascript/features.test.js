import assert from "node:assert/strict"
import test from "node:test"

import {describeFeature, describeValue} from "../../../dashboards/assets/features.js"

test("a feature of form says side, figure and matches", () => {
  assert.equal(describeFeature("form_win_venue_12_away"), "Away form: share of wins, the last 12 away matches")
  assert.equal(
    describeFeature("form_goals_for_season_1_home"),
    "Home form: goals scored a match, the last match of the season",
  )
  assert.equal(
    describeFeature("form_coverage_tournament_5_diff"),
    "Form, home minus away: share of matches known, the last 5 matches in the tournament",
  )
})

test("other features have names, and a foreign one loses its underscores", () => {
  assert.equal(describeFeature("elo_diff"), "Rating, home minus away (Elo)")
  assert.equal(describeFeature("rest_days_diff"), "Days of rest, home minus away")
  assert.equal(describeFeature("xg_last_5"), "Xg last 5")
})

test("all 508 names are told apart and none shows an underscore", () => {
  const stats = ["win", "draw", "loss", "goals_for", "goals_against", "coverage"]
  const names = stats.flatMap(stat =>
    ["all", "season", "tournament", "venue"].flatMap(scope =>
      [1, 2, 3, 5, 7, 10, 12].flatMap(n => ["home", "away", "diff"].map(side => `form_${stat}_${scope}_${n}_${side}`)),
    ),
  )
  const words = [...names, "elo_home", "elo_away", "elo_diff", "rest_days_diff"].map(describeFeature)
  assert.equal(new Set(words).size, 508)
  assert.deepEqual(
    words.filter(text => text.includes("_")),
    [],
  )
})

test("values have their unit", () => {
  assert.equal(describeValue("form_win_all_12_home", 0.4167), "41.7%")
  assert.equal(describeValue("form_win_all_12_diff", -0.25), "−25.0 pts")
  assert.equal(describeValue("form_goals_for_all_5_home", 1.4), "1.4")
  assert.equal(describeValue("form_goals_for_all_5_diff", 0.6), "+0.60")
  assert.equal(describeValue("elo_home", 1612.348), "1,612.35")
  assert.equal(describeValue("elo_home", null), "not known")
})
