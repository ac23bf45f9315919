/* Builds DOM from data. Text always becomes a text node: names are scraped, so nothing here takes markup. */

const SVG = "http://www.w3.org/2000/svg"

export function h(tag, props = {}, ...children) {
  const el = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) set(el, name, value)
  el.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false))
  return el
}

function set(el, name, value) {
  if (value === null || value === undefined || value === false) return
  if (name === "class") el.className = value
  else if (name.startsWith("on")) el.addEventListener(name.slice(2), value)
  else if (name.startsWith("--")) el.style.setProperty(name, value)
  else if (name === "value" || name === "checked") el[name] = value
  else el.setAttribute(name, value === true ? "" : String(value))
}

/* the same for SVG: attributes by their own names */
export function s(tag, attributes = {}, ...children) {
  const el = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false) el.setAttribute(name, String(value))
  el.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false))
  return el
}

const PATHS = {
  down: "M12 4v11M7.5 11l4.5 4.5l4.5-4.5M5 20h14",
  sliders: "M4 7h10M18 7h2M4 17h2M10 17h10M16 4.5v5M8 14.5v5",
  sun: "M12 8a4 4 0 1 0 0 8a4 4 0 0 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
  close: "M6 6l12 12M18 6L6 18",
  out: "M8 16L17 7M9.5 7H17v7.5",
  chevron: "M6 9.5l6 6l6-6",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 0 0 0-13M15.5 15.5L20 20",
  info: "M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 0 0 0-17M12 11v5.5M12 7.6v.2",
  copy: "M9 9h10v11H9zM5 15V4h10",
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg")
  svg.setAttribute("viewBox", "0 0 24 24")
  svg.setAttribute("aria-hidden", "true")
  svg.setAttribute("class", "icon")
  const path = document.createElementNS(SVG, "path")
  path.setAttribute("d", PATHS[name])
  svg.append(path)
  return svg
}

/* one child after another, only where they differ in number: keeps focus inside */
export function fill(el, ...children) {
  el.replaceChildren(...children.flat().filter(child => child !== null && child !== undefined && child !== false))
  return el
}

/* a button that copies a text */
export function copyButton(label, text) {
  const button = h(
    "button",
    {type: "button", class: "button ghost", "aria-label": label},
    icon("copy"),
    h("span", {}, "Copy"),
  )
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text)
      button.lastChild.textContent = "Copied"
    } catch {
      button.lastChild.textContent = "Select and copy by hand"
    }
    setTimeout(() => {
      button.lastChild.textContent = "Copy"
    }, 2000)
  })
  return button
}
