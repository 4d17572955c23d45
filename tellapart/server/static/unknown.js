// What came in and is like nothing stored: how much of it, in which groups, to be named, downloaded and taken away.

import { ask, count, el, picture, things } from "./dom.js";
import { keyed } from "./key.js";

const SVG = "http://www.w3.org/2000/svg";
const KINDS = { words: "Words asked for", pictures: "Pictures asked with", items: "Items added" };
const HOURS = 72;
const FEW = 12;
const $ = (id) => document.getElementById(id);

async function start() {
  let found;
  try {
    found = await ask("/api/unknown");
  } catch (error) {
    $("status").textContent = error.message;
    $("groups").replaceChildren();
    $("drift").hidden = $("tools").hidden = true;
    return;
  }
  const all = found.groups.flatMap((group) => group.items);
  const came = found.kinds.reduce((sum, kind) => sum + kind.seen, 0);
  const wait = found.waiting ? ` ${things(found.waiting, "more waits", "more wait")} to be scored.` : "";
  const lost = found.unscored ? ` ${count(found.unscored)} were not scored, since too many came at once.` : "";
  $("status").textContent = all.length
    ? `${things(all.length, "thing")} in ${things(found.groups.length, "group")}, the largest first.${wait}${lost}`
    : `${came ? "Nothing unknown came." : "Nothing came yet."}${wait}${lost}`;
  $("how").textContent = `Scored by ${found.score}; ${(100 * found.false_alarms).toFixed(0)}% of what is stored would be taken for unknown.`;
  $("drift").replaceChildren(...found.kinds.filter((kind) => kind.seen || kind.reason).map((kind) => drift(kind, found.hours)));
  $("drift").hidden = $("drift").children.length === 0;
  $("tools").hidden = all.length === 0;
  $("named").hidden = !all.some((one) => one.label);
  $("zip").hidden = !all.some((one) => one.picture);
  $("groups").replaceChildren(...found.groups.map(group));
}

function drift(kind, hours) {
  const share = kind.seen ? (100 * kind.unknown) / kind.seen : 0;
  return el("article", { class: "panel" },
    el("h2", {}, KINDS[kind.kind]),
    kind.reason
      ? el("p", { class: "verdict" }, `Not scored: ${kind.reason}.`)
      : el("div", {},
        el("p", { class: "figure" }, el("b", {}, `${share.toFixed(share < 10 ? 1 : 0)}%`), ` unknown of ${count(kind.seen)} · shift ${kind.shift.toFixed(2)}`),
        bars(hours.filter((hour) => hour.kind === kind.kind)),
        el("p", { class: "verdict" }, kind.verdict)));
}

// a bar an hour: how many came, and how many of them were unknown
function bars(hours) {
  const last = Math.floor(Date.now() / 3600000);
  const at = new Map(hours.map((hour) => [Math.floor(Date.parse(hour.hour) / 3600000), hour]));
  const shown = Array.from({ length: HOURS }, (_, i) => at.get(last - HOURS + 1 + i));
  const most = Math.max(1, ...shown.map((hour) => hour?.seen ?? 0));
  const chart = svg("svg", { viewBox: `0 0 ${HOURS * 4} 40`, preserveAspectRatio: "none", class: "bars", role: "img",
    "aria-label": `The last ${HOURS} hours: how many came, and how many were unknown` });
  shown.forEach((hour, i) => {
    if (!hour) return;
    for (const [name, value] of [["seen", hour.seen], ["odd", hour.unknown]]) {
      const height = value ? Math.max(1, (40 * value) / most) : 0;
      const bar = svg("rect", { x: 4 * i, y: 40 - height, width: 3, height, class: name });
      const title = svg("title", {});
      title.textContent = `${new Date(hour.hour).toLocaleString()}: ${hour.unknown} of ${hour.seen} unknown`;
      bar.append(title);
      chart.append(bar);
    }
  });
  return el("div", { class: "chart" }, chart, el("p", { class: "axis" }, el("span", {}, `${HOURS} hours ago`), el("span", {}, "now")));
}

function svg(name, given) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
  return made;
}

function group({ words, items }) {
  const keys = items.map((one) => one.key);
  const labels = [...new Set(items.map((one) => one.label))];
  const field = el("input", { type: "text", maxlength: "200", placeholder: "Name them", "aria-label": `A name for ${words || "this group"}`,
    value: labels.length === 1 ? labels[0] : "" });
  const rest = items.length - FEW;
  const list = el("ul", { class: "things" }, ...items.slice(0, FEW).map(thing));
  const came = items.reduce((sum, one) => sum + one.count, 0);
  return el("li", { class: "panel group" },
    el("div", { class: "head" },
      el("h2", {}, words || "Pictures"),
      el("p", { class: "figure" }, `${things(items.length, "thing")}${came > items.length ? `, came ${count(came)} times` : ""}`)),
    list,
    rest > 0 ? el("button", { type: "button", class: "link", onclick: (event) => { list.append(...items.slice(FEW).map(thing)); event.currentTarget.remove(); } }, `Show ${count(rest)} more`) : null,
    el("form", { class: "name", onsubmit: (event) => { event.preventDefault(); send("label", { keys, label: field.value }); } },
      field, el("button", { class: "say-it", type: "submit" }, "Name"),
      el("button", { class: "say-it reject", type: "button", onclick: () => send("forget", { keys }) }, "Forget")));
}

function thing(one) {
  const told = one.text || one.item;
  const when = `${new Date(one.last).toLocaleString()}, ${one.kind}, score ${one.score.toPrecision(3)}`;
  return el("li", { title: when },
    one.picture ? picture({ picture: one.picture, caption: "A picture that was asked with" }, 384) : null,
    told ? el("span", { class: "said" }, told) : null,
    one.count > 1 ? el("small", {}, `${count(one.count)}×`) : null,
    one.label ? el("small", { class: "label" }, one.label) : null);
}

async function send(what, asked) {
  try {
    await ask(`/api/unknown/${what}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
  } catch (error) {
    $("status").textContent = error.message;
    return;
  }
  await start();
}

// a link would send no key
async function download(name, labelled) {
  const response = await keyed(`/api/${name}?labelled=${labelled}`);
  if (!response.ok) {
    $("status").textContent = "The download was refused; load the page anew.";
    return;
  }
  const url = URL.createObjectURL(await response.blob());
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

$("csv").addEventListener("click", () => download("unknown.csv", false));
$("named").addEventListener("click", () => download("unknown.csv", true));
$("zip").addEventListener("click", () => download("unknown.zip", false));
start();
