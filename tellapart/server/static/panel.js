// One item: its picture or text, what is known of it, what is near it.

import { ask, el, icon, picture, said, standing } from "./dom.js";

const NEAR = 6;
const WIDE = matchMedia("(min-width: 900px)");

export class Panel {
  // act: { like(item), unlike(item), marked(id), open(id), step(by), filter(column, value), filterable(column), closed(opener) }
  constructor(act) {
    this.act = act;
    this.dialog = document.getElementById("detail");
    this.dialog.addEventListener("close", () => this.left());
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    WIDE.addEventListener("change", () => this.dialog.open && this.raise());
  }

  get open() {
    return this.dialog.open;
  }

  async show(id, opener, result = null) {
    this.id = id;
    if (opener) this.opener = opener;
    let item;
    try {
      item = await ask(`/api/items/${encodeURIComponent(id)}`);
    } catch (error) {
      item = null;
      if (this.id === id) this.fill(el("p", { class: "lead", id: "detail-title" }, error.message));
    }
    if (this.id !== id) return;
    this.item = item;
    if (item) this.fill(...this.body(item, result));
    if (!this.dialog.open) this.raise();
    this.dialog.querySelector("h2, p")?.focus({ preventScroll: true });
    this.dialog.scrollTop = 0;
    if (item) this.near(item);
  }

  // beside the results where there is room, over them where there is none
  raise() {
    if (this.dialog.open) this.dialog.close();
    if (WIDE.matches) this.dialog.show();
    else this.dialog.showModal();
    document.body.classList.toggle("beside", WIDE.matches);
  }

  close() {
    if (this.dialog.open) this.dialog.close();
  }

  left() {
    // a close that only changes between the two ways of standing is none
    if (this.dialog.open) return;
    document.body.classList.remove("beside");
    this.id = this.item = null;
    const opener = this.opener?.isConnected ? this.opener : null;
    this.opener = null;
    this.act.closed(opener);
  }

  fill(...children) {
    const button = (name, label, call, extra = "") =>
      el("button", { type: "button", class: `round ${extra}`, "aria-label": label, title: label, onclick: call }, icon(name));
    this.dialog.replaceChildren(
      el(
        "div", { class: "panel-bar" },
        button("left", "Previous item", () => this.act.step(-1)),
        button("right", "Next item", () => this.act.step(1)),
        button("close", "Close", () => this.close(), "close"),
      ),
      ...children,
    );
  }

  body(item, result) {
    const seen = result ? standing(result) : null;
    const shown = [
      item.picture && el("div", { class: "portrait" }, picture(item, 768, { loading: "eager" })),
      item.modality === "text" && el("blockquote", {}, item.text),
    ].filter(Boolean);
    const heading = item.modality === "text" && item.caption === item.text ? item.id : item.caption;
    return [
      ...shown,
      el("h2", { id: "detail-title", tabindex: "-1" }, heading),
      el("p", { class: "standing" }, seen ? seen.long : ""),
      this.marks(item),
      el("div", { class: "near" }),
      this.facts(item),
    ];
  }

  marks(item) {
    const mark = (kind, name, label, call) =>
      el("button", { type: "button", class: `mark ${kind}`, "aria-pressed": String(this.act.marked(item.id) === kind), onclick: call }, icon(name), label);
    return el(
      "div", { class: "marks" },
      mark("like", "plus", "More like this", () => this.act.like(item)),
      mark("unlike", "minus", "Less like this", () => this.act.unlike(item)),
    );
  }

  refresh() {
    if (this.item) this.dialog.querySelector(".marks")?.replaceWith(this.marks(this.item));
  }

  // how the item stands in a search that was answered after the panel was opened
  stand(result) {
    const seen = result && this.item?.id === result.id ? standing(result) : null;
    if (seen) this.dialog.querySelector(".standing").textContent = seen.long;
  }

  facts(item) {
    const above = new Set([null, "", item.text, item.caption]);
    const rows = Object.entries(item.columns).filter(([name, value]) => name === "id" || !(above.has(value) || value.length === 0));
    return el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, said(name)), this.fact(name, value))));
  }

  fact(name, value) {
    const text = Array.isArray(value) ? value.join(", ") : String(value);
    if (!this.act.filterable(name)) return el("dd", {}, text);
    const label = `Only items whose ${said(name)} is ${text}`;
    return el("dd", {}, el("button", { type: "button", class: "link", title: label, "aria-label": `${text}. ${label}`, onclick: () => this.act.filter(name, text) }, text));
  }

  async near(item) {
    let found;
    try {
      found = await ask(`/api/search?${new URLSearchParams({ like: item.id, k: String(NEAR) })}`);
    } catch {
      return;
    }
    if (this.item !== item) return;
    const place = this.dialog.querySelector(".near");
    place?.replaceChildren(
      el("h3", {}, "Nearest to it"),
      el(
        "ul", { class: item.modality === "text" ? "told" : "" },
        ...found.results.map((r) =>
          el("li", {}, el(
            "button", { type: "button", class: "tile", title: `${r.caption} (${r.score.toFixed(2)})`, "aria-label": `Open ${r.caption}`, onclick: () => this.act.open(r.id) },
            r.picture && item.modality !== "text" ? picture(r, 192, { alt: "" }) : el("span", { class: "words" }, r.text),
          )),
        ),
      ),
    );
  }
}
