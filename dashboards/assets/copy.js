/* A button that copies a text. */

import {h, icon} from "./dom.js"

export function copyButton(label, text) {
  const button = h("button", {type: "button", class: "button ghost", "aria-label": label}, icon("copy"), h("span", {}, "Copy"))
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.lastChild.textContent = "Copied" }
    catch { button.lastChild.textContent = "Select and copy by hand" }
    setTimeout(() => { button.lastChild.textContent = "Copy" }, 2000)
  })
  return button
}
