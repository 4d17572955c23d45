// One popover a column: values to tick, or a range.

import { count, el, icon, said } from "./dom.js";

const SHOWN = 200;

export function conditionsOf(where, name) {
  return where.filter((c) => c.startsWith(`${name}=`)).map((c) => c.slice(name.length + 1));
}

export function showFilters(place, columns, where, change) {
  const open = place.querySelector("details[open]")?.dataset.column;
  const focus = place.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  place.replaceChildren(...columns.filter((c) => c.kind !== "other").map((c) => filter(c, where, change)));
  if (where.length) {
    place.append(el("button", { type: "button", class: "quiet", onclick: () => change([]) }, "Clear filters"));
  }
  const same = open && place.querySelector(`details[data-column="${CSS.escape(open)}"]`);
  if (same) same.open = true;
  if (focus) place.querySelector(`[data-key="${CSS.escape(focus)}"]`)?.focus();
}

function filter(column, where, change) {
  const given = conditionsOf(where, column.name);
  const others = where.filter((c) => !c.startsWith(`${column.name}=`));
  const set = (values) => change([...others, ...values.map((v) => `${column.name}=${v}`)]);
  const body = column.kind === "choice" ? choices(column, given, set) : range(column, given, set);
  const label = given.length ? `${said(column.name)}: ${given.map(column.kind === "number" ? words : named).join(", ")}` : said(column.name);
  const made = el(
    "details",
    { class: given.length ? "filter on" : "filter", dataset: { column: column.name } },
    el("summary", { dataset: { key: `${column.name} ` }, title: label }, el("span", {}, label), icon("down")),
    el("div", { class: "popover" }, body),
  );
  made.addEventListener("toggle", () => {
    if (!made.open) return;
    for (const other of made.parentElement.querySelectorAll("details[open]")) if (other !== made) other.open = false;
  });
  return made;
}

const named = (value) => (value === "" ? "(none)" : value);

const words = (value) => {
  const [low, high] = value.split("..");
  if (high === undefined) return value;
  if (!low) return `up to ${high}`;
  return high ? `${low} to ${high}` : `from ${low}`;
};

function choices(column, given, set) {
  return el(
    "fieldset",
    {},
    el("legend", {}, said(column.name)),
    ...column.values.slice(0, SHOWN).map(([value, items]) => {
      const text = String(value);
      const box = el("input", { type: "checkbox", checked: given.includes(text), dataset: { key: `${column.name} ${text}` } });
      box.addEventListener("change", () => set(box.checked ? [...given, text] : given.filter((v) => v !== text)));
      return el("label", {}, box, el("span", {}, text === "" ? "(none)" : text), el("small", {}, count(items)));
    }),
  );
}

function range(column, given, set) {
  const [low, high] = (given[0] || "..").split("..");
  const input = (name, value, hint) =>
    el("input", {
      type: "number", step: "any", value, placeholder: String(hint), "aria-label": `${column.name} ${name}`,
      dataset: { key: `${column.name} ${name}` },
    });
  const from = input("from", low, column.low);
  const to = input("to", high, column.high);
  const apply = () => set(from.value || to.value ? [`${from.value}..${to.value}`] : []);
  for (const box of [from, to]) box.addEventListener("change", apply);
  return el(
    "fieldset", { class: "range" }, el("legend", {}, said(column.name)),
    el("label", {}, "from", from), el("label", {}, "to", to),
  );
}
