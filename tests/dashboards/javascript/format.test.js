import assert from "node:assert/strict"
import test from "node:test"

import * as f from "../../../dashboards/assets/format.js"

test("the shade of a probability grows, and stays within what text can be read on", () => {
  const shades = Array.from({length: 101}, (_, percent) => Number(f.heat(percent / 100)))
  assert.deepEqual(
    shades,
    shades.toSorted((a, b) => a - b),
  )
  assert.equal(shades[0], 0.03)
  assert.equal(shades.at(-1), 0.6)
})

test("a minus is a minus sign and zero has no sign", () => {
  assert.equal(f.edge(-0.05), "−5.0%")
  assert.equal(f.edge(0.154), "+15.4%")
  assert.equal(f.edge(0), "0.0%")
})
