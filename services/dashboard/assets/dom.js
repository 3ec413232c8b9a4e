/** Building and changing elements; nothing is written that has not changed. */

export const byId = (id) => document.getElementById(id);

/** A new element; `properties` are set on it, `class` and `data` as well. */
export function make(tag, { data = {}, attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

export function mark(element, name, on) {
  if (element.classList.contains(name) !== Boolean(on)) element.classList.toggle(name, Boolean(on));
}

export function pressed(button, on) {
  const value = String(Boolean(on));
  if (button.getAttribute("aria-pressed") !== value) button.setAttribute("aria-pressed", value);
}

/** A number of the server: shown as `kind`, kept as it was sent. */
export function figure(element, name, value, kind, unit = "") {
  const raw = value === null || value === undefined ? "" : String(value);
  if (element.dataset.figure !== name) element.dataset.figure = name;
  if (element.dataset.value === raw && element.dataset.kind === kind) return element;
  element.dataset.value = raw;
  element.dataset.kind = kind;
  element.textContent = raw === "" ? format.show(null, kind) : format.show(value, kind) + unit;
  return element;
}

/** A number of the server that is told by a shape or inside a text. */
export function carry(element, name, value) {
  const raw = value === null || value === undefined ? "" : String(value);
  if (element.dataset.figure !== name) element.dataset.figure = name;
  if (element.dataset.value !== raw) element.dataset.value = raw;
}

/** Blue with a triangle up above 0, orange with a triangle down below. */
export function tone(element, value) {
  mark(element, "up", value > 0);
  mark(element, "down", value < 0);
}

export function style(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/** Share of a whole, for a bar: `--share` of the element, 0 to 1. */
export function share(element, part, whole, name = "--share") {
  const value = whole > 0 && Number.isFinite(part) ? Math.min(1, Math.max(0, part / whole)) : 0;
  style(element, name, value.toFixed(3));
}

/** Make the children of `container` those of `items`, in order; `create` once per key. */
export function keyed(container, items, key, create, update) {
  const kept = container.children_ ?? (container.children_ = new Map());
  const seen = new Set();
  let before = container.firstElementChild;
  for (const item of items) {
    const id = key(item);
    seen.add(id);
    let element = kept.get(id);
    if (!element) {
      element = create(item);
      kept.set(id, element);
    }
    if (element === before) {
      before = before.nextElementSibling;
    } else {
      container.insertBefore(element, before);
    }
    update(element, item);
  }
  for (const [id, element] of kept) {
    if (seen.has(id)) continue;
    element.remove();
    kept.delete(id);
  }
}

/** Buttons of which one is pressed. `choose(value)` is called on a press. */
export function choices(container, values, choose) {
  container.replaceChildren(...values.map(({ value, name, title }) => make("button", {
    type: "button", textContent: name, title: title ?? "", data: { choice: String(value) },
    onclick: () => choose(value) })));
  return (chosen) => [...container.children].forEach(
    (button) => pressed(button, button.dataset.choice === String(chosen)));
}

/** A table with headings; `body` is what `keyed` fills. */
export function table(label, headings) {
  const body = make("tbody");
  const head = make("tr", {}, ...headings.map(({ name, hint = "", left = false, className = "" }) => make("th", {
    textContent: name, title: hint, className: left ? "left" : className, attributes: { scope: "col" } })));
  const element = make("table", { attributes: { "aria-label": label } }, make("thead", {}, head), body);
  return { element, body };
}

export function empty(words, remedy = "") {
  return make("div", { className: "empty" }, make("p", { textContent: words }),
    ...(remedy ? [make("p", { className: "remedy", textContent: remedy })] : []));
}
