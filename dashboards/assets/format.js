/* Numbers, times and ages in the viewer's own locale and time zone. */

/**
 * English with the conventions of the reader's region, as far as they fit English: no other digits, no other calendar.
 * @param {string} tag the locale of the browser
 */
export function englishFor(tag) {
  const region = new Intl.Locale(tag).maximize().region ?? "GB"
  return `en-${region}-u-ca-gregory-nu-latn`
}

const system = new Intl.DateTimeFormat(undefined, {hour: "numeric"}).resolvedOptions()
const locale = englishFor(system.locale)
/**
 * one clock for the page: 24 hours or 12, as the reader's locale has it
 * @type {"h12" | "h23"}
 */
const hourCycle = /^h1/.test(system.hourCycle ?? "h23") ? "h12" : "h23"
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
  american: value => (value >= 2 ? `+${Math.round(100 * (value - 1))}` : `\u2212${Math.round(100 / (value - 1))}`),
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

/* the fractions that bookmakers write, by rising profit */
export const FRACTIONS = (
  "1/500 1/200 1/100 1/66 1/50 1/40 1/33 1/25 1/20 1/16 1/14 1/12 1/10 1/9 1/8 2/15 1/7 2/13 1/6 2/11 1/5 2/9 1/4 2/7 " +
  "3/10 1/3 4/11 2/5 4/9 1/2 8/15 4/7 8/13 4/6 8/11 4/5 5/6 10/11 20/21 1/1 21/20 11/10 6/5 5/4 11/8 7/5 6/4 8/5 13/8 " +
  "7/4 9/5 15/8 2/1 21/10 11/5 9/4 12/5 5/2 13/5 11/4 14/5 3/1 10/3 7/2 4/1 9/2 5/1 11/2 6/1 13/2 7/1 15/2 8/1 17/2 " +
  "9/1 10/1 11/1 12/1 14/1 16/1 18/1 20/1 22/1 25/1 28/1 33/1 40/1 50/1 66/1 80/1 100/1 125/1 150/1 200/1 250/1 300/1 " +
  "400/1 500/1 750/1 1000/1"
).split(" ")
const PROFITS = FRACTIONS.map(text => text.split("/").map(Number)).map(([above, below]) => above / below)

/**
 * Return the nearest fraction of the table, "5/2".
 * @param {number} profit decimal odds - 1
 */
export function fraction(profit) {
  const distances = PROFITS.map(other => Math.abs(other - profit))
  return FRACTIONS[distances.indexOf(Math.min(...distances))]
}

export const probability = value => percent0.format(value)
export const share = value => percent1.format(value)
export const edge = value => minus(signedPercent1.format(value))
const NO_ODDS = new Map([
  ["no_opening_price", "no odds: only the closing price of this match is known"],
  ["contradicted_price", "no odds: other bookmakers contradict the price"],
])
export const noOdds = reason => NO_ODDS.get(reason) ?? "no odds for this match"
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
const upTo2 = new Intl.NumberFormat(locale, {maximumFractionDigits: 2})
export const plain = value => minus(upTo2.format(value))
const four = number(4)
export const loss = value => four.format(value)

const dates = more => new Intl.DateTimeFormat(locale, more)
const clock = dates({hour: hourCycle === "h12" ? "numeric" : "2-digit", minute: "2-digit", hourCycle})
const dayParts = /** @type {const} */ ({weekday: "short", day: "numeric", month: "short"})
const dayOf = dates(dayParts),
  dayOfYear = dates({...dayParts, year: "numeric"})
// a day without a time is the day that was published, whatever the reader's time zone
const publishedDay = dates({...dayParts, timeZone: "UTC"}),
  publishedDayOfYear = dates({...dayParts, year: "numeric", timeZone: "UTC"})
const plainDay = dates({day: "numeric", month: "short", year: "numeric"})
const full = dates({dateStyle: "full", timeStyle: "short", hourCycle})

export const time = ms => clock.format(ms)
export const date = ms => plainDay.format(ms)
export const moment = ms => full.format(ms)
/**
 * @param {number} ms
 * @param {boolean} timed false where only the day is known
 */
export function shortDay(ms, timed = true) {
  const isThisYear = yearOf(ms, timed) === new Date().getFullYear()
  if (timed) return (isThisYear ? dayOf : dayOfYear).format(ms)
  return (isThisYear ? publishedDay : publishedDayOfYear).format(ms)
}
const yearOf = (ms, timed) => (timed ? new Date(ms).getFullYear() : new Date(ms).getUTCFullYear())
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone

/* the day as a number that counts up by one from day to day */
const dayNumber = (ms, timed) => {
  const at = new Date(ms)
  return timed ? Date.UTC(at.getFullYear(), at.getMonth(), at.getDate()) / DAY : Math.floor(ms / DAY)
}

/**
 * Return a key that is the same for instants of one day.
 * @param {number} ms
 * @param {boolean} timed
 */
export const dayKey = (ms, timed = true) => dayNumber(ms, timed)

export const daysFromToday = (ms, timed = true) => dayNumber(ms, timed) - dayNumber(Date.now(), true)

/**
 * Return "Today" and "Mon 23 Nov", "Sat 29 Aug" and "86 days ago".
 * @param {number} ms
 * @param {boolean} timed
 */
export function dayTitle(ms, timed = true) {
  const days = daysFromToday(ms, timed)
  const name = shortDay(ms, timed)
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
