// The state of the search, its address, and what happens on the page.

import { ask, count, el, icon, picture, Refused, standing, things } from "./dom.js";
import { showFilters } from "./filters.js";
import { Pairs } from "./pairs.js";
import { Panel } from "./panel.js";

const VIEWS = ["confusions", "borderline"];
const STEP = 48;
const MOST = 200;
const TYPING = 160;
const SIDE = 1024;
const UPLOAD = 12 * 1024 * 1024;

const $ = (id) => document.getElementById(id);
const state = { q: "", like: [], unlike: [], where: [], item: null, view: "search", hybrid: false, k: STEP };
const known = new Map(); // items that were seen, by id
let own = null; // a picture of the user's own: { blob, url, name }
let about = { columns: [], reads: ["text", "image"], shows: "image", items: 0, calibrated: false };
let results = [];
let asking = null;
let typing = 0;
let slow = 0;

// ---- the address

function read() {
  const given = new URLSearchParams(location.search);
  state.q = given.get("q") || "";
  state.like = given.getAll("like");
  state.unlike = given.getAll("unlike");
  state.where = given.getAll("where");
  state.item = given.get("item");
  state.hybrid = given.has("hybrid");
  state.view = VIEWS.includes(given.get("view")) ? given.get("view") : "search";
  state.k = STEP;
}

function address() {
  const given = new URLSearchParams();
  if (state.view !== "search") given.set("view", state.view);
  if (state.q) given.set("q", state.q);
  for (const name of ["like", "unlike", "where"]) for (const value of state[name]) given.append(name, value);
  if (state.hybrid) given.set("hybrid", "");
  if (state.item) given.set("item", state.item);
  const text = given.toString();
  return text ? `/?${text}` : "/";
}

function write(replace = false) {
  if (address() === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address());
  const asked = state.q || (state.view === "search" ? "" : state.view);
  document.title = asked ? `${asked} · tellapart` : "tellapart";
}

// ---- searching

function request(signal) {
  if (own === null) {
    const given = new URLSearchParams({ k: String(state.k) });
    if (state.q) given.set("words", state.q);
    if (together()) given.set("hybrid", "true");
    for (const name of ["like", "unlike", "where"]) for (const value of state[name]) given.append(name, value);
    return ask(`/api/search?${given}`, { signal });
  }
  const form = new FormData();
  const query = { words: state.q, like: state.like, unlike: state.unlike, where: conditions(), k: state.k, hybrid: together() };
  form.set("query", JSON.stringify(query));
  form.set("image", own.blob, own.name);
  return ask("/api/search", { method: "POST", body: form, signal });
}

function conditions() {
  const where = {};
  for (const condition of state.where) {
    const at = condition.indexOf("=");
    const [name, value] = [condition.slice(0, at), condition.slice(at + 1)];
    const column = about.columns.find((c) => c.name === name);
    if (column?.kind === "number" && value.includes("..")) {
      const [low, high] = value.split("..");
      where[name] = { from: low === "" ? null : Number(low), to: high === "" ? null : Number(high) };
    } else {
      where[name] = [...(where[name] || []), value];
    }
  }
  return where;
}

async function search() {
  clearTimeout(typing);
  clearTimeout(slow);
  asking?.abort();
  const mine = (asking = new AbortController());
  $("results").setAttribute("aria-busy", "true");
  slow = setTimeout(() => {
    $("loading").hidden = false;
  }, 150);
  let found = null;
  let problem = null;
  try {
    found = await request(mine.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    problem = error.message;
  }
  if (asking !== mine) return;
  clearTimeout(slow);
  $("loading").hidden = true;
  $("results").removeAttribute("aria-busy");
  if (problem !== null) showProblem(problem);
  else showFound(found);
}

function showProblem(problem) {
  results = [];
  $("results").replaceChildren();
  $("more").hidden = $("notes").hidden = true;
  $("status").textContent = "";
  showMessage("This search did not work", sentence(problem), el("button", { type: "button", onclick: search }, "Try again"));
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function showMessage(title, text, ...more) {
  $("message").replaceChildren(el("h2", {}, title), el("p", {}, text), el("div", { class: "actions" }, ...more.filter(Boolean)));
  $("message").hidden = false;
}

function showFound(found) {
  $("message").hidden = true;
  $("notes").textContent = found.notes.join(" ");
  $("notes").hidden = found.notes.length === 0 || found.results.length === 0;
  for (const result of [...found.results, ...found.closest]) result.ranked = found.ranked;
  list(found.results);
  if (searching()) panel.stand(results.find((r) => r.id === state.item));
  $("more").hidden = found.results.length < state.k || state.k >= MOST || found.results.length >= found.searched;
  const among = found.searched === about.items ? things(found.searched, "item") : `${count(found.searched)} of ${things(about.items, "item")}`;
  if (found.nothing_here) {
    $("status").textContent = `Nothing here, among ${among}.`;
    const closest = el("button", { type: "button" }, "Show the closest anyway");
    closest.addEventListener("click", () => {
      $("message").hidden = true;
      list(found.closest);
      $("status").textContent = `The ${found.closest.length} closest of ${among}; none is likely to match.`;
      focusCard(0);
    });
    const asked = state.q ? `“${state.q}”` : "this picture";
    showMessage("Nothing here", `The model does not think that any of ${among} matches ${asked}.`, closest);
  } else if (found.searched === 0) {
    $("status").textContent = "No results.";
    showMessage("No item passes the filters", "Take one away, or all.", el("button", { type: "button", onclick: () => filterBy([]) }, "Clear filters"));
  } else if (searching()) {
    const passing = found.results.filter((r) => r.passes && r.probability !== null).length;
    $("status").textContent = passing ? `${things(passing, "possible match", "possible matches")} among ${among}` : `The ${count(found.results.length)} nearest of ${among}`;
  } else {
    $("status").textContent = found.results.length < found.searched ? `${count(found.results.length)} of ${among}, from all over the collection` : among;
  }
}

const together = () => state.hybrid && about.hybrid;

const searching = () => Boolean(state.q || own || state.like.length || state.unlike.length);

// ---- results

function list(found) {
  const at = document.activeElement?.closest?.(".card")?.dataset.id;
  results = found;
  for (const result of found) known.set(result.id, result);
  const cards = [];
  found.forEach((result, i) => {
    if (!result.passes && i > 0 && found[i - 1].passes) {
      cards.push(el("li", { class: "divider" }, "Less likely from here on"));
    }
    cards.push(el("li", {}, card(result, i)));
  });
  $("results").classList.toggle("texts", about.shows === "text");
  $("results").replaceChildren(...cards);
  if (at !== undefined) {
    const again = found.findIndex((r) => r.id === at);
    if (again >= 0) focusCard(again);
    else $("results").focus({ preventScroll: true });
  }
  showOpen();
}

function card(result, i) {
  const seen = standing(result);
  const tab = i === 0 ? "0" : "-1";
  const body = result.picture && about.shows !== "text" ? picture(result, 384, i < 8 ? { loading: "eager" } : {}) : el("span", { class: "words" }, result.text);
  const mark = (kind, name, label) =>
    el("button", {
      type: "button", class: `round ${kind}`, tabindex: tab, title: label,
      "aria-label": `${label}: ${result.caption}`, "aria-pressed": String(marked(result.id) === kind),
      onclick: () => toggle(kind, result),
    }, icon(name));
  const titled = result.picture || result.caption !== result.text;
  return el(
    "article",
    { class: result.passes ? "card" : "card unlikely", dataset: { id: result.id } },
    el("button", {
      type: "button", class: "tile open", tabindex: tab, "aria-label": `${result.caption}${seen ? `, ${seen.long}` : ""}`,
      onclick: (e) => openItem(result.id, e.currentTarget), onfocus: () => rove(i),
    }, body),
    el("p", { class: "under" }, el("span", { class: "caption", title: result.caption }, titled ? result.caption : ""), seen && el("span", { class: "score", title: seen.long }, seen.short)),
    el("div", { class: "quick" }, mark("like", "plus", "More like this"), mark("unlike", "minus", "Less like this")),
  );
}

const cards = () => [...$("results").querySelectorAll(".card")];

function rove(to) {
  cards().forEach((c, i) => {
    for (const button of c.querySelectorAll("button")) button.tabIndex = i === to ? 0 : -1;
  });
}

function focusCard(i) {
  const all = cards();
  if (!all.length) return;
  const to = Math.max(0, Math.min(all.length - 1, i));
  const button = all[to].querySelector(".open");
  button.focus({ preventScroll: true });
  all[to].scrollIntoView({ block: "nearest" });
}

function columnsOfGrid() {
  const all = cards();
  if (!all.length) return 1;
  const top = all[0].offsetTop;
  const next = all.findIndex((c) => c.offsetTop !== top);
  return next < 0 ? all.length : next;
}

function showOpen() {
  for (const c of cards()) c.classList.toggle("shown", c.dataset.id === state.item);
}

// ---- marks, picture, chips

const marked = (id) => (state.like.includes(id) ? "like" : state.unlike.includes(id) ? "unlike" : null);

function toggle(kind, item) {
  known.set(item.id, item);
  const had = marked(item.id) === kind;
  for (const name of ["like", "unlike"]) state[name] = state[name].filter((id) => id !== item.id);
  if (!had) state[kind].push(item.id);
  changed();
}

function filterBy(where) {
  state.where = where;
  changed();
}

function changed(replace = false) {
  state.k = STEP;
  write(replace);
  showChips();
  showFilters($("filters"), about.columns, state.where, filterBy);
  panel.refresh();
  search();
}

function chip(kind, sign, item, label, remove) {
  const image = item.url ? el("img", { src: item.url, alt: "" }) : item.picture ? picture(item, 96, { alt: "", loading: "eager" }) : null;
  return el(
    "li", { class: `chip ${kind}` },
    image, el("span", {}, `${sign} ${label}`),
    el("button", { type: "button", "aria-label": `Remove: ${sign} ${label}`, title: "Remove", onclick: remove }, icon("close")),
  );
}

function showChips() {
  const made = [];
  if (own) made.push(chip("own", about.reads.includes("series") ? "window:" : "picture:", own, own.name, () => setPicture(null)));
  for (const [kind, sign] of [["like", "like"], ["unlike", "not like"]]) {
    for (const id of state[kind]) {
      const item = known.get(id);
      made.push(chip(kind, sign, item || {}, item ? item.caption : id, () => toggle(kind, item || { id })));
      if (!item) learn(id);
    }
  }
  $("chips").replaceChildren(...made);
  $("chips").hidden = made.length === 0;
}

async function learn(id) {
  try {
    known.set(id, await ask(`/api/items/${encodeURIComponent(id)}`));
    showChips();
  } catch {
    // an unknown id in the address is answered by the search itself
  }
}

function setPicture(given) {
  if (own) URL.revokeObjectURL(own.url);
  own = given;
  $("file").value = "";
  state.view = "search";
  changed();
  showView();
}

async function take(file) {
  if (!file) return;
  if (!about.reads.some((m) => m !== "text")) {
    showProblem("This model reads words only, so there is no search by a picture");
    return;
  }
  const blob = await smaller(file);
  if (blob.size > UPLOAD) {
    showProblem("The picture is larger than 12 MiB; save it smaller and try again");
    return;
  }
  const shown = about.reads.includes("image");
  setPicture({ blob, url: shown ? URL.createObjectURL(blob) : "", name: file.name || "pasted picture" });
}

// a photograph of many megapixels says no more than one of a thousand pixels a side; what cannot be read here is for the
// server to explain
async function smaller(file) {
  try {
    const image = await createImageBitmap(file);
    const share = SIDE / Math.max(image.width, image.height);
    if (share >= 1) return file;
    const canvas = el("canvas", { width: Math.round(image.width * share), height: Math.round(image.height * share) });
    const pen = canvas.getContext("2d");
    pen.fillStyle = "white";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return (await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92))) || file;
  } catch {
    return file;
  }
}

// ---- the item beside the results

const panel = new Panel({
  like: (item) => toggle("like", item),
  unlike: (item) => toggle("unlike", item),
  marked,
  open: (id) => openItem(id),
  filterable: (name) => about.columns.some((c) => c.name === name && c.kind === "choice"),
  filter: (name, value) => {
    state.view = "search";
    filterBy([...state.where.filter((c) => !c.startsWith(`${name}=`)), `${name}=${value}`]);
    showView();
  },
  step: (by) => {
    const at = results.findIndex((r) => r.id === state.item);
    const next = results[at + by];
    if (at >= 0 && next) openItem(next.id, cards()[at + by].querySelector(".open"));
  },
  closed: (opener) => {
    const id = state.item;
    state.item = null;
    write();
    showOpen();
    const card = cards().find((c) => c.dataset.id === id);
    (card?.querySelector(".open") || opener)?.focus();
  },
});

function openItem(id, opener = null) {
  const replace = state.item !== null;
  state.item = id;
  write(replace);
  showOpen();
  panel.show(id, opener, searching() ? results.find((r) => r.id === id) : null);
}

// ---- views

const pairs = new Pairs(openItem);

function showView() {
  const search = state.view === "search";
  $("search-view").hidden = !search;
  $("confusion-view").hidden = search;
  for (const view of ["search", ...VIEWS]) $(`to-${view}`).toggleAttribute("aria-current", state.view === view);
  if (search) pairs.hide();
  else pairs.show(state.view);
}

function go(view) {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    state.view = view;
    panel.close();
    write();
    showView();
    if (view === "search") $("words").focus();
  };
}

function restore() {
  read();
  $("words").value = state.q;
  $("hybrid").checked = state.hybrid;
  showChips();
  showFilters($("filters"), about.columns, state.where, filterBy);
  showView();
  search();
  if (state.item) panel.show(state.item, null);
  else panel.close();
}

// ---- keyboard

const MOVES = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columnsOfGrid, ArrowUp: () => -columnsOfGrid() };

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target;
  const writing = target.matches?.("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") return escape(event);
  if (target === $("words") && event.key === "ArrowDown" && cards().length) {
    event.preventDefault();
    return focusCard(0);
  }
  if (writing || $("help").open) return;
  if (event.key === "/") {
    event.preventDefault();
    if (state.view !== "search") go("search")(event);
    $("words").focus();
    $("words").select();
  } else if (event.key === "?") {
    $("help").showModal();
  } else if (event.key === "l" || event.key === "u") {
    const kind = event.key === "l" ? "like" : "unlike";
    const id = target.closest(".card")?.dataset.id ?? panel.id;
    const item = results.find((r) => r.id === id) || (panel.item?.id === id ? panel.item : null);
    if (item) toggle(kind, item);
  } else if (event.key in MOVES && !target.closest(".filters")) {
    if (panel.open && !target.closest(".card")) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) panel.act.step(by);
      return;
    }
    const at = cards().indexOf(target.closest(".card"));
    if (at < 0 && target !== document.body && target !== $("results")) return;
    if (!cards().length) return;
    event.preventDefault();
    const by = MOVES[event.key]();
    if (at >= 0 && at + by < 0 && event.key === "ArrowUp") $("words").focus();
    else if (at < 0 || (at + by >= 0 && at + by < cards().length)) focusCard(at < 0 ? 0 : at + by);
  }
}

function escape(event) {
  const filter = document.querySelector(".filter[open]");
  if ($("help").open) return;
  if (filter) {
    filter.open = false;
    filter.querySelector("summary").focus();
  } else if (panel.open) {
    panel.close();
  } else if (event.target === $("words") && state.q === "") {
    $("words").blur();
  }
}

// ---- events

function typed(now) {
  clearTimeout(typing);
  const q = $("words").value.trim();
  if (q === state.q) {
    if (now) write();
    return;
  }
  const begun = state.q === "";
  typing = setTimeout(() => {
    state.q = q;
    changed(!now && !begun);
  }, now ? 0 : TYPING);
}

function listen() {
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    typed(true);
  });
  $("words").addEventListener("input", () => typed(false));
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => take($("file").files[0]));
  $("more").addEventListener("click", () => {
    const at = results.length;
    state.k = Math.min(MOST, state.k * 2);
    search().then(() => focusCard(at));
  });
  for (const view of ["search", ...VIEWS]) $(`to-${view}`).addEventListener("click", go(view));
  $("open-help").addEventListener("click", () => $("help").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  $("help").addEventListener("click", (event) => event.target === $("help") && $("help").close());
  document.addEventListener("keydown", keyed);
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".filter[open]")) if (!open.contains(event.target)) open.open = false;
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((f) => f.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  let over = 0;
  const dragged = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (dragged(event)) $("drop").hidden = ++over === 0;
  });
  document.addEventListener("dragleave", (event) => {
    if (dragged(event)) $("drop").hidden = --over <= 0;
  });
  document.addEventListener("dragover", (event) => dragged(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!dragged(event)) return;
    event.preventDefault();
    over = 0;
    $("drop").hidden = true;
    take(event.dataTransfer.files[0]);
  });
  $("hybrid").addEventListener("change", () => {
    state.hybrid = $("hybrid").checked;
    changed();
  });
  addEventListener("popstate", restore);
}

async function start() {
  listen();
  try {
    about = await ask("/api/columns");
  } catch (error) {
    showProblem(error.message);
    return;
  }
  pairs.marking = about.marking;
  $("to-borderline").hidden = !about.borderline;
  const [byWords, byPicture, byWindow] = ["text", "image", "series"].map((m) => about.reads.includes(m));
  $("words").disabled = !byWords;
  $("words").placeholder = byWords ? `Search ${things(about.items, "item")}${byPicture && innerWidth > 640 ? " by words or a picture" : ""}` : "Paste or drop a picture, or choose one";
  if (about.changes) $("words").placeholder = innerWidth > 640 ? "Choose a picture or an item to be like, and say what is to change" : "What is to change";
  if (byWindow) $("file").accept = ".npy";
  if (byWindow && !byWords) $("words").placeholder = "Drop a window of a recording (.npy), or choose one";
  $("choose").hidden = !byPicture && !byWindow;
  $("hybrid-choice").hidden = !byWords || !about.hybrid;
  const { name, attribution, licence } = about.about;
  const facts = [things(about.items, "item"), about.calibrated && "calibrated", attribution || name, licence && `licence: ${licence}`];
  $("about").textContent = facts.filter(Boolean).join(" · ");
  $("help-score").textContent = about.calibrated
    ? "The percentage beside a result is the calibrated probability that it matches; where it is missing, a number from −1 to 1 says how similar it is."
    : "The number beside a result says how similar it is to what is asked for, from −1 to 1.";
  if (about.ranked) $("help-score").textContent += ` What is asked for alone is ordered by ${about.ranked}, whose scores have a range of their own.`;
  restore();
}

start();
