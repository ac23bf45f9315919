import assert from "node:assert/strict"
import test from "node:test"

import * as f from "../../../dashboards/assets/format.js"

test("the shade of a probability grows, and stays within what text can be read on", () => {
  const shades = Array.from({length: 101}, (_, percent) => Number(f.heat(percent / 100)))
  const sorted = shades.toSorted((a, b) => a - b)
  assert.deepEqual(shades, sorted)
  assert.equal(shades[0], 0.03)
  assert.equal(shades.at(-1), 0.6)
})

test("a minus is a minus sign and zero has no sign", () => {
  assert.equal(f.edge(-0.05), "−5.0%")
  assert.equal(f.edge(0.154), "+15.4%")
  assert.equal(f.edge(0), "0.0%")
})

test("every fraction of the table is itself, from its exact odds", () => {
  for (const text of f.FRACTIONS) {
    const [above, below] = text.split("/").map(Number)
    assert.equal(f.fraction(above / below), text)
  }
  const profits = f.FRACTIONS.map(text => text.split("/").map(Number)).map(([above, below]) => above / below)
  assert.deepEqual(
    profits,
    profits.toSorted((a, b) => a - b),
  )
  assert.equal(new Set(profits).size, profits.length)
})

// decimal odds of two places, as feeds give them, and the fraction on the board
const BOARD = {
  1.01: "1/100",
  1.02: "1/50",
  1.03: "1/33",
  1.04: "1/25",
  1.05: "1/20",
  1.1: "1/10",
  1.11: "1/9",
  1.2: "1/5",
  1.22: "2/9",
  1.25: "1/4",
  1.29: "2/7",
  1.3: "3/10",
  1.33: "1/3",
  1.36: "4/11",
  1.4: "2/5",
  1.44: "4/9",
  1.5: "1/2",
  1.53: "8/15",
  1.57: "4/7",
  1.62: "8/13",
  1.67: "4/6",
  1.73: "8/11",
  1.8: "4/5",
  1.83: "5/6",
  1.91: "10/11",
  1.95: "20/21",
  2: "1/1",
  2.05: "21/20",
  2.1: "11/10",
  2.2: "6/5",
  2.25: "5/4",
  2.38: "11/8",
  2.5: "6/4",
  2.62: "13/8",
  2.75: "7/4",
  2.88: "15/8",
  3: "2/1",
  3.25: "9/4",
  3.4: "12/5",
  3.5: "5/2",
  3.75: "11/4",
  4: "3/1",
  4.33: "10/3",
  4.5: "7/2",
  5: "4/1",
  7.5: "13/2",
  9.5: "17/2",
  13: "12/1",
  34: "33/1",
  67: "66/1",
  501: "500/1",
}

test("odds of two places are the fraction that a bookmaker writes", () => {
  for (const [odds, text] of Object.entries(BOARD)) assert.equal(f.fraction(Number(odds) - 1), text, odds)
})

test("american odds have no thousands separator", () => {
  f.useOdds("american")
  assert.equal(f.odds(26), "+2500")
  assert.equal(f.odds(1.02), "−5000")
  assert.equal(f.odds(2), "+100")
  f.useOdds("decimal")
})

test("texts are English: a locale gives its region's conventions, never its digits or calendar", () => {
  assert.equal(f.englishFor("de-DE"), "en-DE-u-ca-gregory-nu-latn")
  assert.equal(f.englishFor("ja"), "en-JP-u-ca-gregory-nu-latn")
  for (const tag of ["ar-EG", "fa-IR", "th-TH-u-ca-buddhist-nu-thai", "hi-IN-u-nu-deva", "en-US"]) {
    const locale = f.englishFor(tag)
    assert.match(new Intl.NumberFormat(locale, {maximumFractionDigits: 2}).format(1.5), /^1[.,]5$/, tag)
    assert.match(new Intl.DateTimeFormat(locale, {dateStyle: "full"}).format(Date.UTC(2026, 7, 14)), /Fri.*2026/, tag)
  }
})

test("a day without a time is the published day, whatever the time zone", () => {
  const zone = process.env.TZ
  for (const tz of ["Pacific/Auckland", "America/Los_Angeles", "UTC"]) {
    process.env.TZ = tz
    for (const hour of [0, 14, 15, 23]) {
      const at = Date.UTC(1993, 7, 14, hour)
      assert.match(f.shortDay(at, false), /Sat, 14 Aug,? 1993|Sat, Aug 14, 1993|Sat 14 Aug 1993/)
      assert.equal(f.dayKey(at, false), f.dayKey(Date.UTC(1993, 7, 14), false))
    }
  }
  process.env.TZ = zone ?? "UTC"
})

test("a match without odds says why, where that is known", () => {
  assert.match(f.noOdds("no_opening_price"), /only the closing price/)
  assert.match(f.noOdds("contradicted_price"), /contradict/)
  for (const unknown of [null, undefined, "of a foreign pipeline", "constructor"])
    assert.equal(f.noOdds(unknown), "no odds for this match")
})
