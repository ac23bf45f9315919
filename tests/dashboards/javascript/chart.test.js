import assert from "node:assert/strict"
import test from "node:test"

import {keepApart, labelWidth, linear, shorten, spread, ticks} from "../../../dashboards/assets/chart.js"

test("a scale maps both ends, and a domain without width to its beginning", () => {
  const scale = linear([0, 10], [100, 0])
  assert.deepEqual([scale(0), scale(5), scale(10)], [100, 50, 0])
  assert.equal(linear([3, 3], [0, 9])(3), 0)
})

test("ticks are round and inside", () => {
  assert.deepEqual(ticks([0, 1], 5), [0, 0.2, 0.4, 0.6, 0.8, 1])
  assert.deepEqual(
    ticks([-47, 112], 4),
    [0, 50, 100].concat([]).sort((a, b) => a - b),
  )
})

test("labels are moved apart by the least they need, in their order and within bounds", () => {
  assert.deepEqual(spread([10, 50, 90], 15, [0, 100]), [10, 50, 90])
  // all of 400 random triples, as prices of a match may lie
  for (let n = 0; n < 400; n++) {
    const random = i => ((Math.sin(n * 3 + i) + 1) * 96) / 2
    const positions = [0, 1, 2].map(random)
    const moved = spread(positions, 15, [7, 89])
    const sorted = moved.toSorted((a, b) => a - b)
    assert.ok(sorted[1] - sorted[0] > 14.999 && sorted[2] - sorted[1] > 14.999, `${positions}`)
    assert.ok(sorted[0] > 6.999 && sorted[2] < 89.001, `${positions}`)
    const order = values => [0, 1, 2].sort((a, b) => values[a] - values[b])
    assert.deepEqual(order(moved), order(positions))
  }
})

test("equal prices get three labels", () => {
  assert.deepEqual(
    spread([48, 48, 48], 15, [7, 89]).toSorted((a, b) => a - b),
    [48, 63, 78],
  )
})

test("of labels that overlap the first stays", () => {
  const labels = [100, 110, 190, 195].map(x => ({x, words: "+10%"}))
  assert.deepEqual(
    keepApart(labels).map(label => label.x),
    [100, 190],
  )
})

test("a name is cut to its width", () => {
  assert.equal(shorten("England", 200), "England")
  const cut = shorten("Bosnia and Herzegovina", 84)
  assert.equal(cut, "Bosnia and…")
  assert.ok(labelWidth(cut) <= 84)
})
