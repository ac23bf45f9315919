/* The filters: every control reports its change and shows the state it is given. */

import {fill, h, icon} from "./dom.js"
import {ODDS_FORMS, count, oddsIn, useOdds, zone} from "./format.js"

export const PERIODS = [
  ["all", "Any time"],
  ["today", "Today"],
  ["tomorrow", "Tomorrow"],
  ["next3", "Next 3 days"],
  ["next7", "Next 7 days"],
  ["yesterday", "Yesterday"],
  ["last7", "Last 7 days"],
  ["last30", "Last 30 days"],
  ["last90", "Last 90 days"],
  ["last365", "Last 365 days"],
]
const PAST = new Set(["yesterday", "last7", "last30", "last90", "last365"])
const STATUSES = [
  ["upcoming", "Upcoming"],
  ["finished", "Finished"],
  ["all", "All"],
]
const RARE = {
  live: "Live",
  awaiting_result: "Awaiting result",
  postponed: "Postponed",
  cancelled: "Cancelled",
  abandoned: "Abandoned",
  awarded: "Awarded",
}
const SORTS = [
  ["time", "Time"],
  ["-time", "Time, reversed"],
  ["edge", "Best edge"],
]
const EDGES = [
  ["", "Any"],
  ["0", "≥ 0 %"],
  ["2", "≥ 2 %"],
  ["5", "≥ 5 %"],
  ["10", "≥ 10 %"],
  ["15", "≥ 15 %"],
  ["20", "≥ 20 %"],
  ["30", "≥ 30 %"],
]
const REGION_ROIS = [
  ["", "Any"],
  ["-20", "≥ −20 %"],
  ["-10", "≥ −10 %"],
  ["-5", "≥ −5 %"],
  ["0", "≥ 0 %"],
  ["2", "≥ +2 %"],
  ["5", "≥ +5 %"],
  ["10", "≥ +10 %"],
]
const NAMES = {
  q: "Search",
  region: "Region",
  tournament: "Tournament",
  status: "Status",
  period: "Period",
  edge: "Min edge",
  rroi: "Min region ROI",
  value: "Value bets only",
}

export class Controls {
  constructor(onChange, {onReset, onOdds, onSql}) {
    this.onChange = onChange
    this.items = []
    this.state = {}
    this.search = h("input", {
      type: "search",
      id: "q",
      placeholder: "Team, league, region",
      autocomplete: "off",
      spellcheck: "false",
      "aria-keyshortcuts": "/",
    })
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing)
      this.typing = setTimeout(() => onChange({q: this.search.value}), 250)
    })
    this.region = choice("region", value => onChange({region: value ? [value] : [], tournament: []}))
    this.tournament = choice("tournament", value => {
      const [region, tournament = ""] = value.split("\n")
      onChange(value ? {region: region ? [region] : [], tournament: [tournament]} : {tournament: []})
    })
    this.period = choice("period", value => onChange({period: value}), PERIODS)
    this.sort = choice("sort", value => onChange({sort: value}), SORTS)
    this.sort.setAttribute("aria-label", "Sort")
    this.edge = choice("edge", value => onChange({edge: value}), EDGES)
    this.rroi = choice("rroi", value => onChange({rroi: value}), REGION_ROIS)
    this.odds = choice(
      "odds",
      form => {
        useOdds(form)
        onOdds()
      },
      ODDS_FORMS,
    )
    this.odds.value = oddsIn()
    this.value = h("input", {type: "checkbox", role: "switch", id: "value", "aria-label": "Value bets only"})
    this.value.addEventListener("change", () => onChange({value: this.value.checked}))
    this.status = h("div", {class: "segments", role: "group", "aria-label": "Status"})
    this.reset = h("button", {type: "button", class: "button wide", onclick: onReset}, "Reset filters")
    this.side = h(
      "div",
      {class: "fields"},
      field("Search", "q", this.search, h("kbd", {"aria-hidden": "true"}, "/")),
      field("Region", "region", this.region),
      field("Tournament", "tournament", this.tournament),
      field("Period", "period", this.period),
      field("Min edge", "edge", this.edge),
      field(
        "Min region ROI",
        "rroi",
        this.rroi,
        h(
          "p",
          {class: "hint"},
          "From bets settled before each match, so nothing is chosen by its own result; shrunk towards the overall ROI where bets are few.",
        ),
      ),
      this.reset,
      h(
        "section",
        {class: "settings", "aria-label": "Display and export"},
        field("Odds shown as", "odds", this.odds),
        (this.export = h(
          "a",
          {class: "button wide", href: "cards.csv", download: "matches.csv"},
          icon("down"),
          "Export CSV",
        )),
        h("button", {type: "button", class: "button wide", onclick: onSql}, "Show SQL"),
      ),
    )
    this.bar = h(
      "div",
      {class: "toolbar"},
      this.status,
      h(
        "label",
        {class: "switch", for: "value"},
        this.value,
        h("span", {class: "knob"}),
        h("span", {class: "long"}, "Value bets only"),
        h("span", {class: "short", "aria-hidden": "true"}, "Value"),
      ),
    )
    const label = h("label", {class: "sort", for: "sort"}, h("span", {}, "Sort"), this.sort)
    // where the bar has no room for it, it is among the filters
    const isNarrow = matchMedia("(max-width: 43.6875em)")
    const place = () => (isNarrow.matches ? this.reset.before(label) : this.bar.append(label))
    isNarrow.addEventListener("change", place)
    place()
  }

  show(state, narrowing, query) {
    this.export.href = `cards.csv?${query ? `${query}&` : ""}zone=${encodeURIComponent(zone())}`
    this.state = state
    this.narrowing = narrowing
    if (!isFocused(this.search)) this.search.value = state.q
    this.showStatus(state.status)
    this.showPlaces()
    pickIn(this.period, state.period)
    pickIn(this.sort, state.sort)
    pickIn(this.edge, state.edge ?? "", value => `≥ ${value} %`)
    pickIn(this.rroi, state.rroi ?? "", value => `≥ ${value} %`)
    this.value.checked = state.value
    this.reset.disabled = narrowing.length === 0
    return narrowing.filter(name => !["status", "value"].includes(name)).length
  }

  facets(items) {
    this.items = items
    this.showPlaces()
  }

  focusSearch() {
    this.search.focus()
    this.search.select()
  }

  showStatus(status) {
    const all = status in RARE ? [...STATUSES, [status, RARE[status]]] : STATUSES
    fill(
      this.status,
      all.map(([value, text]) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(value === status),
            "data-status": value,
            onclick: () => this.onChange({status: value}),
          },
          text,
        ),
      ),
    )
  }

  showPlaces() {
    const {region: regions = [], tournament: tournaments = []} = this.state
    const places = countPlaces(this.items, regions, tournaments)
    const names = [...places.keys()].sort((a, b) => a.localeCompare(b))
    options(this.region, [["", "All regions"], ...names.map(name => [name, counted(name, sum(places.get(name)))])], "")
    pickSeveral(this.region, regions)
    this.showTournaments(places, regions.length ? regions : names, regions, tournaments)
  }

  showTournaments(places, names, regions, tournaments) {
    const optionsOf = name =>
      [...places.get(name)].map(([league, n]) => h("option", {value: `${name}\n${league}`}, counted(league, n)))
    const isOne = regions.length === 1
    const shown = isOne ? optionsOf(names[0]) : names.map(name => h("optgroup", {label: name}, optionsOf(name)))
    fill(this.tournament, h("option", {value: ""}, isOne ? `All of ${names[0]}` : "All tournaments"), shown)
    pickSeveral(
      this.tournament,
      tournaments.map(name => (isOne ? `${names[0]}\n${name}` : `\n${name}`)),
      tournaments,
    )
  }

  /* buttons that take one filter back, for the empty list */
  loosen() {
    const text = {
      q: `“${this.state.q}”`,
      region: this.state.region.join(", "),
      tournament: this.state.tournament.join(", "),
      status: STATUSES.find(([v]) => v === this.state.status)?.[1] ?? RARE[this.state.status],
      period: PERIODS.find(([v]) => v === this.state.period)?.[1],
      edge: `≥ ${this.state.edge} %`,
      rroi: `≥ ${this.state.rroi} %`,
      value: "",
    }
    const empty = {
      q: "",
      region: [],
      tournament: [],
      status: "all",
      period: "all",
      edge: null,
      rroi: null,
      value: false,
    }
    // a period that is over has only finished matches
    const step = PAST.has(this.state.period) &&
      this.state.status === "upcoming" && [
        h(
          "button",
          {
            type: "button",
            class: "button",
            "data-step": "finished",
            onclick: () => this.onChange({status: "finished"}),
          },
          "Show finished matches",
        ),
      ]
    const buttons = this.narrowing.map(name =>
      h(
        "button",
        {
          type: "button",
          class: "button loosen",
          "data-loosen": name,
          onclick: () => this.onChange({[name]: empty[name]}),
        },
        `${NAMES[name]} ${text[name]}`.trim(),
        icon("close"),
      ),
    )
    return [...(step || []), ...buttons]
  }
}

const field = (label, id, control, more) =>
  h("div", {class: `field ${id}`}, h("label", {for: id}, label), control, more)
const counted = (name, n) => `${name} (${count(n)})`
const sum = leagues => [...leagues.values()].reduce((total, n) => total + n, 0)
const isFocused = el => el.getRootNode().activeElement === el

function choice(id, onPick, choices = []) {
  const el = h("select", {id})
  options(el, choices, "")
  el.addEventListener("change", () => onPick(el.value))
  return el
}

/* region -> tournament -> number of matches; what is chosen is there even if it has none */
function countPlaces(items, regions, tournaments) {
  const chosen = regions.flatMap(region => [
    [region, "", 0],
    ...(regions.length === 1 ? tournaments.map(name => [region, name, 0]) : []),
  ])
  const places = new Map()
  for (const [region, tournament, n] of [...items, ...chosen]) {
    if (!places.has(region)) places.set(region, new Map())
    if (tournament) places.get(region).set(tournament, (places.get(region).get(tournament) ?? 0) + n)
  }
  return places
}

/* several values, as an address may carry, are one more choice that names them all */
function pickSeveral(el, values, names = values) {
  el.value = values[0] ?? ""
  if (values.length < 2 && el.selectedIndex >= 0) return
  el.append(h("option", {value: values.join("|")}, names.join(", ")))
  el.value = values.join("|")
}

function options(el, choices, value) {
  fill(
    el,
    choices.map(([key, text]) => h("option", {value: key}, text)),
  )
  el.value = value
}

/* a shared link may carry a value that is not among the choices: it is shown as it is */
/** @param {(value: any) => string} say */
function pickIn(el, value, say = String) {
  el.value = String(value)
  if (el.selectedIndex >= 0) return
  el.append(h("option", {value: String(value)}, say(value)))
  el.value = String(value)
}
