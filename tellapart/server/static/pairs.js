// Pairs side by side, to be marked as the same or different: those that the model cannot tell apart, and those that the
// miner was least sure of.

import { ask, count, el, picture, things } from "./dom.js";

const STEP = 20;
const MOST = 200;
const TITLES = { confusions: "What the model cannot tell apart", borderline: "What the miner was least sure of" };
const MARKS = [["same", "Really the same"], ["different", "Really different"]];

export class Pairs {
  constructor(open) {
    this.open = open;
    this.marking = false;
    this.view = "confusions";
    this.shown = STEP;
    this.title = document.getElementById("pairs-title");
    this.told = document.getElementById("marks-told");
    this.status = document.getElementById("confusion-status");
    this.list = document.getElementById("confusions");
    this.more = document.getElementById("more-confusions");
    this.more.addEventListener("click", () => {
      this.shown += 2 * STEP;
      this.show(this.view);
    });
  }

  async show(view) {
    clearTimeout(this.timer);
    if (view !== this.view) {
      this.view = view;
      this.shown = STEP;
      this.list.replaceChildren();
    }
    this.title.textContent = TITLES[view];
    let found;
    try {
      found = await ask(`/api/${view}?k=${Math.min(this.shown, MOST)}`);
    } catch (error) {
      this.status.textContent = error.message;
      return;
    }
    if (view !== this.view) return;
    if (found.ready === false) {
      const done = found.done > 0 ? ` ${Math.round(100 * found.done)}% done.` : "";
      this.status.textContent = `Asking for every item and looking at what comes first.${done}`;
      this.status.classList.add("busy");
      this.timer = setTimeout(() => this.show(view), 700);
      return;
    }
    this.status.classList.remove("busy");
    this.status.textContent = view === "confusions" ? summary(found) : borderline(found);
    this.list.replaceChildren(...found.pairs.map((pair) => this.row(pair)));
    this.more.hidden = found.pairs.length >= Math.min(found.total, MOST);
  }

  hide() {
    clearTimeout(this.timer);
  }

  row(pair) {
    const ahead = pair.wrong_score > pair.right_score;
    const tied = Math.abs(pair.wrong_score - pair.right_score) < 0.0005;
    const byText = pair.query.id === pair.right.id;
    const asked = byText
      ? el("p", { class: "asked" }, "Asked for ", el("q", {}, pair.query.caption))
      : el("p", { class: "asked" }, "Asked for something like ", el("q", {}, pair.query.caption));
    if (pair.both_ways) {
      asked.append(el("span", { class: "tag", title: "Asking for the other finds this one first as well" }, "both ways"));
    }
    const sides = [
      byText ? null : this.figure(pair.query, "Asked for", null, "neutral"),
      this.figure(pair.right, byText ? "Its own" : "Best right one", pair.right_score, "right"),
      this.figure(pair.wrong, tied ? "Just as near" : ahead ? "Found first" : "Nearly as near", pair.wrong_score, "wrong"),
    ];
    return el(
      "li", { class: byText ? "pair" : "pair three" },
      asked, el("div", { class: "sides" }, ...sides.filter(Boolean)), this.marking ? this.marks(pair) : null,
    );
  }

  marks(pair) {
    const buttons = MARKS.map(([said, label]) =>
      el("button", {
        type: "button", class: `mark ${said}`, "aria-pressed": String(pair.said === said),
        "aria-label": `${label}: ${pair.query.caption} and ${pair.wrong.caption}`,
        onclick: () => this.mark(pair, pair.said === said ? "" : said, buttons),
      }, label));
    return el("div", { class: "marks", role: "group", "aria-label": "What they are" }, ...buttons);
  }

  async mark(pair, said, buttons) {
    const body = JSON.stringify({ a: pair.query.id, b: pair.wrong.id, said });
    try {
      const { marks } = await ask("/api/marks", { method: "POST", headers: { "content-type": "application/json" }, body });
      pair.said = said;
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(MARKS[i][0] === said)));
      this.told.textContent = marks ? `${things(marks, "pair")} marked. The next run of this collection into this folder goes by them.` : "";
    } catch (error) {
      this.told.textContent = error.message;
    }
    this.told.hidden = this.told.textContent === "";
  }

  figure(item, role, score, kind) {
    const said = score === null ? role : `${role}, similarity ${score.toFixed(3)}`;
    const body = item.picture ? picture(item, 384) : el("span", { class: "words" }, item.text);
    return el(
      "figure",
      { class: kind },
      el("button", { type: "button", class: "tile", "aria-label": `${said}: ${item.caption}. Open`, onclick: (e) => this.open(item.id, e.currentTarget) }, body),
      el(
        "figcaption", {},
        el("span", { class: "role" }, role, score === null ? null : el("b", {}, score.toFixed(3))),
        el("span", { class: "caption" }, item.caption),
      ),
    );
  }
}

function borderline(found) {
  if (found.total === 0) return "None. Write some with: tellapart mine --explain";
  return (
    `${found.total === 1 ? "One pair" : `${count(found.total)} pairs`} that scored just above or just below the bar from which on a ` +
    "document is no negative any more. Say what they really are."
  );
}

function summary(found) {
  if (found.asked === 0) return "There is nothing to ask for in this collection.";
  const some = found.asked < found.of ? `, of ${count(found.of)} in all` : "";
  if (found.total === 0) {
    return `None. Of ${things(found.asked, "item")} asked for${some}, each finds its own before anything else.`;
  }
  const share = Math.round((100 * found.confused) / found.asked);
  return (
    `For ${count(found.confused)} of ${things(found.asked, "item")} asked for${some} (${share}%), something else scores ` +
    `at least as high as what belongs to it. ${found.total === 1 ? "One pair" : `${count(found.total)} pairs`}, the widest gap first.`
  );
}
