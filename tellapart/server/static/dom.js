// Elements and requests. Data only ever becomes text nodes, attributes and properties, never markup.

import { keyed, load } from "./key.js";

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined && c !== false));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export class Refused extends Error {}

export async function ask(path, options = {}) {
  let response;
  try {
    response = await keyed(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is it still running?");
  }
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    answer = { error: `the server answered ${response.status}` };
  }
  if (!response.ok) throw new Refused(answer.error || `The server answered ${response.status}.`);
  return answer;
}

export const sized = (address, size) => `${address}&size=${size}`;

export function picture(item, size, given = {}) {
  const image = el("img", {
    alt: item.caption,
    loading: "lazy",
    decoding: "async",
    draggable: "false",
    ...given,
  });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "lost" }, "The picture cannot be shown")));
  load(image, sized(item.picture, size));
  return image;
}

// the name of a column as people write it
export const said = (name) => name.replaceAll("_", " ");

export const count = (n) => n.toLocaleString("en");
export const things = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

export function chance(p) {
  if (p >= 0.995) return ">99%";
  if (p < 0.005) return "<1%";
  return `${Math.round(100 * p)}%`;
}

// places in two lists say nothing about one item that a number could tell
const FUSED = "reciprocal rank fusion";

export function standing(result) {
  if (result.ranked === FUSED) return null;
  const by = result.ranked ? "score" : "similarity";
  if (result.probability !== null && result.probability !== undefined) {
    return { short: chance(result.probability), long: `${chance(result.probability)} likely to match, ${by} ${result.score.toFixed(3)}` };
  }
  if (result.score !== null && result.score !== undefined) {
    return { short: result.score.toFixed(2), long: `${by} ${result.score.toFixed(3)}` };
  }
  return null;
}
