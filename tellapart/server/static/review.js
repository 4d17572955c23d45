// Findings of a curated folder: the surest of each kind, to be accepted or rejected.

import { ask, count, el, picture, said as worded, things } from "./dom.js";

const STEP = 24;
const SHOW = [["all", "All"], ["open", "Undecided"], ["accept", "Accepted"], ["reject", "Rejected"]];
const SAY = [["accept", "Accept"], ["reject", "Reject"], ["", "Forget"]];
const $ = (id) => document.getElementById(id);

const at = { kinds: [], kind: "", show: "all", found: [], total: 0, asked: 0 };

const titled = (kind) => worded(kind.replaceAll("-", " ")).replace(/^./, (c) => c.toUpperCase());
const now = () => at.kinds.find((kind) => kind.name === at.kind);
const open = (kind) => kind.proposed - kind.accepted - kind.rejected;

async function start() {
  try {
    told(await ask("/api/findings"));
  } catch (error) {
    $("status").textContent = error.message;
    return;
  }
  const asked = new URLSearchParams(location.search);
  const named = at.kinds.some((kind) => kind.name === asked.get("kind"));
  at.show = SHOW.some(([show]) => show === asked.get("show")) ? asked.get("show") : "all";
  if (at.kinds.length) turn(named ? asked.get("kind") : at.kinds[0].name, false);
  else $("status").textContent = "Nothing was looked for in this folder. Look: tellapart curate DATA --out FOLDER";
}

function told({ folder, kinds }) {
  at.kinds = kinds;
  $("folder").textContent = folder;
  $("folder").title = folder;
  $("next").textContent = `Use what is left: tellapart run ${folder}`;
  $("kinds").replaceChildren(...kinds.map((kind) => {
    const done = kind.proposed ? `${count(kind.proposed - open(kind))} of ${count(kind.proposed)} decided` : "nothing proposed";
    return el("a", {
      href: `?kind=${encodeURIComponent(kind.name)}`, "aria-current": kind.name === at.kind ? "page" : null,
      class: kind.proposed && open(kind) === 0 ? "done" : "",
      onclick: (event) => { if (!(event.metaKey || event.ctrlKey)) { event.preventDefault(); turn(kind.name); } },
    }, el("b", {}, titled(kind.name)), el("small", {}, done));
  }));
  tools();
}

function tools() {
  const kind = now();
  $("tools").hidden = !kind || kind.proposed === 0;
  if (!kind) return;
  const counts = { all: kind.proposed, open: open(kind), accept: kind.accepted, reject: kind.rejected };
  $("show").replaceChildren(...SHOW.map(([show, label]) => el("button", {
    type: "button", "aria-pressed": String(at.show === show), onclick: () => { at.show = show; turn(at.kind); },
  }, label, el("small", {}, count(counts[show])))));
  const left = open(kind);
  const given = left === kind.proposed ? "all" : "the rest";
  $("all").replaceChildren(
    left ? el("button", { type: "button", class: "say-it accept", onclick: () => all("accept", left) }, `Accept ${given}`) : "",
    left ? el("button", { type: "button", class: "say-it reject", onclick: () => all("reject", left) }, `Reject ${given}`) : "",
    left < kind.proposed ? el("button", { type: "button", class: "say-it", onclick: () => all("", kind.proposed - left) }, "Forget all") : "",
  );
}

async function turn(name, note = true) {
  const changed = at.kind !== name;
  at.kind = name;
  at.found = [];
  if (note) history.pushState(null, "", `?kind=${encodeURIComponent(name)}${at.show === "all" ? "" : `&show=${at.show}`}`);
  $("title").textContent = titled(name);
  document.title = `${titled(name)} · tellapart`;
  $("about").textContent = now().about;
  for (const link of $("kinds").children) {
    const here = new URL(link.href).searchParams.get("kind") === name;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (here) link.scrollIntoView({ block: "nearest", inline: "center" });
  }
  if (changed) scrollTo(0, 0);
  tools();
  await load();
}

async function load() {
  const mine = ++at.asked;
  const [kind, show, from] = [at.kind, at.show, at.found.length];
  // those that were decided since have left a list of undecided ones
  const gone = show === "all" ? 0 : at.found.filter((each) => each.said !== (show === "open" ? "" : show)).length;
  let found;
  try {
    found = await ask(`/api/findings/${encodeURIComponent(kind)}?show=${show}&start=${from - gone}&k=${STEP}`);
  } catch (error) {
    $("status").textContent = error.message;
    return;
  }
  if (mine !== at.asked) return;
  const known = new Set(at.found.map((each) => each.item.id));
  const more = found.findings.filter((each) => !known.has(each.item.id));
  at.found.push(...more);
  at.total = found.total + gone;
  const cards = more.map(card);
  if (from === 0) $("findings").replaceChildren(...cards);
  else {
    $("findings").append(...cards);
    if (cards.length) cards[0].focus();
  }
  const looked = now().looked;
  $("status").textContent = now().proposed === 0
    ? `Nothing is proposed; ${things(looked, "item was", "items were")} looked at.`
    : at.total === 0 ? "None of these." : `${things(at.total, "finding")}, the surest first; ${things(looked, "item was", "items were")} looked at.`;
  $("more").hidden = at.found.length >= at.total;
}

function card(found) {
  const made = el("li", { class: "finding", tabindex: "-1", "aria-label": `${found.item.id}: ${found.reason}` });
  const pair = found.other !== null;
  made.append(
    el("div", { class: pair ? "sides two" : "sides" }, side(found.item, pair ? "This one" : ""), pair ? side(found.other, "The same as") : null),
    el("div", { class: "what" },
      el("p", { class: "reason" }, found.reason),
      el("p", { class: "action" }, ...proposal(found), el("small", { title: "surer is higher; of this kind alone" }, `score ${found.score.toPrecision(3)}`)),
      el("div", { class: "say", role: "group", "aria-label": "What you say" }, ...SAY.map(([said, label]) =>
        el("button", { type: "button", class: `say-it ${said}`, dataset: { said }, onclick: () => say(found, made, said) }, label)))),
  );
  mark(found, made);
  return made;
}

function side(item, role) {
  const lines = Object.entries(item.texts);
  return el("figure", { class: item.picture ? "pictured" : "written" },
    role ? el("p", { class: "role" }, role) : null,
    item.picture ? el("div", { class: "shown" }, picture({ picture: item.picture, caption: lines[0]?.[1] ?? item.id }, 384)) : null,
    el("figcaption", {},
      ...lines.map(([name, text]) => el("p", { class: "line", lang: "" }, lines.length > 1 || !item.picture ? el("span", {}, worded(name)) : null, text.trim() ? text : el("i", {}, "empty"))),
      el("p", { class: "id" }, item.id)));
}

function proposal(found) {
  const to = el("b", {}, found.to);
  if (found.action === "drop") return ["Proposed: leave it out"];
  if (found.action === "relabel") return ["Proposed: label it ", to];
  if (found.action === "same-as") return ["Proposed: the same item as ", to];
  return ["Proposed: look at it; accepting changes nothing"];
}

function mark(found, made) {
  made.dataset.said = found.said;
  for (const button of made.querySelectorAll(".say-it")) {
    if (button.dataset.said) button.setAttribute("aria-pressed", String(button.dataset.said === found.said));
    else button.disabled = found.said === "";
  }
}

async function say(found, made, said) {
  const before = found.said;
  if (before === said) return;
  found.said = said;
  mark(found, made);
  try {
    told(await decide({ kind: at.kind, item: found.item.id, said }));
  } catch (error) {
    found.said = before;
    mark(found, made);
    $("status").textContent = error.message;
  }
}

async function all(said, many) {
  const words = { accept: "Accept", reject: "Reject", "": "Forget" }[said];
  $("sure-title").textContent = `${words} ${things(many, "finding")}?`;
  $("sure-told").textContent = said
    ? "What you have decided one by one stays. You can forget it again."
    : "Everything that was said of this kind is taken back.";
  $("sure").returnValue = "";
  $("sure").showModal();
  $("sure").onclose = async () => {
    if ($("sure").returnValue !== "yes") return;
    try {
      told(await decide({ kind: at.kind, said }));
      await turn(at.kind, false);
    } catch (error) {
      $("status").textContent = error.message;
    }
  };
}

const decide = (asked) =>
  ask("/api/decisions", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });

function move(by) {
  const cards = [...$("findings").children];
  const here = cards.findIndex((each) => each.contains(document.activeElement));
  const next = cards[here < 0 ? 0 : Math.min(Math.max(here + by, 0), cards.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function other(by) {
  const here = at.kinds.findIndex((kind) => kind.name === at.kind);
  const next = at.kinds[here + by];
  if (next) turn(next.name);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const here = [...$("findings").children].findIndex((each) => each.contains(document.activeElement));
  const said = { a: "accept", r: "reject", f: "" }[event.key];
  if (said !== undefined && here >= 0) {
    say(at.found[here], $("findings").children[here], said);
    if (said) move(1);
  } else if (event.key === "j" || event.key === "ArrowDown") move(1);
  else if (event.key === "k" || event.key === "ArrowUp") move(-1);
  else if (event.key === "n") other(1);
  else if (event.key === "p") other(-1);
  else if (event.key === "?") $("help").showModal();
  else return;
  event.preventDefault();
});

$("open-help").addEventListener("click", () => $("help").showModal());
document.querySelector("[data-close]").addEventListener("click", () => $("help").close());
$("more").addEventListener("click", load);
addEventListener("popstate", start);
start();
