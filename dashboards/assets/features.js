/* Names and values of the features in words; a model of somebody else's may have names that only lose underscores. */

import * as f from "./format.js"

const STATS = {
  win: "share of wins",
  draw: "share of draws",
  loss: "share of losses",
  goals_for: "goals scored a match",
  goals_against: "goals conceded a match",
  coverage: "share of matches known",
}
const SIDES = {home: "Home form", away: "Away form", diff: "Form, home minus away"}
const VENUES = {home: "home matches", away: "away matches", diff: "home and away matches"}
const SCOPES = {all: "", season: " of the season", tournament: " in the tournament", venue: ""}
const NAMES = {
  elo_home: "Home rating (Elo)",
  elo_away: "Away rating (Elo)",
  elo_diff: "Rating, home minus away (Elo)",
  rest_days_diff: "Days of rest, home minus away",
}
const FORM =
  /^form_(win|draw|loss|goals_for|goals_against|coverage)_(all|season|tournament|venue)_(\d+)_(home|away|diff)$/

/** @param {string} name */
export function describeFeature(name) {
  const form = FORM.exec(name)
  if (!form) return NAMES[name] ?? capitalize(name.replaceAll("_", " ").trim())
  const [, stat, scope, n, side] = form
  const matches = scope === "venue" ? VENUES[side] : "matches"
  const last = n === "1" ? `the last ${matches.replace(/matches$/, "match")}` : `the last ${n} ${matches}`
  return `${SIDES[side]}: ${STATS[stat]}, ${last}${SCOPES[scope]}`
}

/**
 * Return a value with the unit of its feature.
 * @param {string} name
 * @param {number | null} value
 */
export function describeValue(name, value) {
  if (value === null || value === undefined) return "not known"
  const form = FORM.exec(name)
  if (form && !form[1].startsWith("goals"))
    return form[4] === "diff" ? `${f.percent(100 * value)} pts`.replace("%", "") : f.share(value)
  if (form?.[4] === "diff" || name.endsWith("_diff")) return f.signed(value)
  return f.plain(value)
}

const capitalize = text => text.charAt(0).toUpperCase() + text.slice(1)
