/* Numbers, times and ages in the viewer's own locale and time zone. */

const locale = undefined
const MINUTE = 60e3,
  HOUR = 3600e3,
  DAY = 24 * HOUR
const number = (digits, more = {}) =>
  new Intl.NumberFormat(locale, {minimumFractionDigits: digits, maximumFractionDigits: digits, ...more})
const whole = number(0),
  one = number(1),
  two = number(2)
const percent0 = number(0, {style: "percent"}),
  percent1 = number(1, {style: "percent"})
const signedPercent1 = number(1, {style: "percent", signDisplay: "exceptZero"})
const signed1 = number(1, {signDisplay: "exceptZero"}),
  signed2 = number(2, {signDisplay: "exceptZero"})
const minus = text => text.replace("-", "\u2212")

/* opacity of the shade of a probability: one text colour stays readable on all of them */
export const heat = p => (0.03 + 0.57 * Math.min(Math.max((p - 0.08) / 0.84, 0), 1)).toFixed(3)

export const DASH = "\u2013"
export const SIGNS = ["1", "X", "2"]
export const count = value => whole.format(value)
export const ODDS_FORMS = [
  ["decimal", "Decimal"],
  ["fractional", "Fractional"],
  ["american", "American"],
]
let oddsForm = "decimal"
try {
  oddsForm = localStorage.getItem("touchline-odds") ?? oddsForm
} catch {
  /* storage may be closed */
}
const sayOdds = {
  decimal: value => two.format(value),
  fractional: value => fraction(value - 1),
  american: value =>
    value >= 2
      ? `+${whole.format(Math.round(100 * (value - 1)))}`
      : `\u2212${whole.format(Math.round(100 / (value - 1)))}`,
}
export const odds = value => (sayOdds[oddsForm] ?? sayOdds.decimal)(value)
export const oddsIn = () => oddsForm
export function useOdds(form) {
  oddsForm = form
  try {
    localStorage.setItem("touchline-odds", form)
  } catch {
    /* kept for this page only */
  }
}

/* the nearest fraction that bookmakers write, "5/2" */
function fraction(profit) {
  let best = [Math.round(profit), 1]
  for (const below of [1, 2, 3, 4, 5, 8, 10, 11, 20, 25, 40, 100]) {
    const above = Math.max(1, Math.round(profit * below))
    if (Math.abs(above / below - profit) < Math.abs(best[0] / best[1] - profit) - 0.004 * profit || best[0] === 0)
      best = [above, below]
  }
  return best.join("/")
}
export const probability = value => percent0.format(value)
export const share = value => percent1.format(value)
export const edge = value => minus(signedPercent1.format(value))
export const percent = value => minus(signedPercent1.format(value / 100))
export const units = value => `${minus(signed1.format(value))}\u202fu`
export const units2 = value => `${minus(signed2.format(value))}\u202fu`
const signed0 = number(0, {signDisplay: "exceptZero"}),
  signedPercent0 = new Intl.NumberFormat(locale, {
    maximumFractionDigits: 1,
    style: "percent",
    signDisplay: "exceptZero",
  })
export const units0 = value => `${minus(signed0.format(value))}\u202fu`
export const percentShort = value => minus(signedPercent0.format(value / 100))
export const decimal = value => one.format(value)
export const signed = value => minus(signed2.format(value))
const four = number(4)
export const loss = value => four.format(value)

const clock = new Intl.DateTimeFormat(locale, {hour: "2-digit", minute: "2-digit", hourCycle: "h23"})
const dayOf = new Intl.DateTimeFormat(locale, {weekday: "short", day: "numeric", month: "short"})
const dayOfYear = new Intl.DateTimeFormat(locale, {weekday: "short", day: "numeric", month: "short", year: "numeric"})
const plainDay = new Intl.DateTimeFormat(locale, {day: "numeric", month: "short", year: "numeric"})
const full = new Intl.DateTimeFormat(locale, {dateStyle: "full", timeStyle: "short"})

export const time = ms => clock.format(ms)
export const date = ms => plainDay.format(ms)
export const moment = ms => full.format(ms)
export const shortDay = ms => (new Date(ms).getFullYear() === new Date().getFullYear() ? dayOf : dayOfYear).format(ms)
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone

export function dayKey(ms) {
  const at = new Date(ms)
  return (at.getFullYear() * 100 + at.getMonth()) * 100 + at.getDate()
}

export function daysFromToday(ms) {
  const at = new Date(ms),
    today = new Date()
  return Math.round(
    (Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) -
      Date.UTC(today.getFullYear(), today.getMonth(), today.getDate())) /
      DAY,
  )
}

/* "Today · Mon 23 Nov", "Sat 29 Aug · 86 days ago" */
export function dayTitle(ms) {
  const days = daysFromToday(ms)
  const name = shortDay(ms)
  const word = {0: "Today", 1: "Tomorrow", [-1]: "Yesterday"}[days]
  if (word) return [word, name]
  return [name, days > 0 ? `in ${days} days` : `${-days} days ago`]
}

export function duration(ms) {
  const span = Math.abs(ms)
  if (span < MINUTE) return "less than a minute"
  if (span < 90 * MINUTE) return `${Math.round(span / MINUTE)} min`
  if (span < 48 * HOUR) return `${Math.round(span / HOUR)} h`
  return `${Math.round(span / DAY)} d`
}

export const ago = ms => (Date.now() - ms < MINUTE ? "just now" : `${duration(Date.now() - ms)} ago`)
export const HOURS_4 = 4 * HOUR
export {DAY}
