// The pairs that the model cannot tell apart, side by side.

import { ask, count, el, picture, things } from "./dom.js";

const STEP = 20;

export class Confusions {
  constructor(open) {
    this.open = open;
    this.shown = STEP;
    this.status = document.getElementById("confusion-status");
    this.list = document.getElementById("confusions");
    this.more = document.getElementById("more-confusions");
    this.more.addEventListener("click", () => {
      this.shown += 2 * STEP;
      this.show();
    });
  }

  async show() {
    clearTimeout(this.timer);
    let found;
    try {
      found = await ask(`/api/confusions?k=${Math.min(this.shown, 200)}`);
    } catch (error) {
      this.status.textContent = error.message;
      return;
    }
    if (!found.ready) {
      const done = found.done > 0 ? ` ${Math.round(100 * found.done)}% done.` : "";
      this.status.textContent = `Asking for every item and looking at what comes first.${done}`;
      this.status.classList.add("busy");
      this.timer = setTimeout(() => this.show(), 700);
      return;
    }
    this.status.classList.remove("busy");
    this.status.textContent = summary(found);
    this.list.replaceChildren(...found.pairs.map((pair) => this.row(pair)));
    this.more.hidden = found.pairs.length >= Math.min(found.total, 200);
  }

  hide() {
    clearTimeout(this.timer);
  }

  row(pair) {
    const tied = pair.wrong_score - pair.right_score < 0.0005;
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
      this.figure(pair.wrong, tied ? "Just as near" : "Found first", pair.wrong_score, "wrong"),
    ];
    return el("li", { class: byText ? "pair" : "pair three" }, asked, el("div", { class: "sides" }, ...sides.filter(Boolean)));
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
