"use strict";
// Shows the replies that fit all chosen filters. They lie in the page as compressed data and become elements when they
// are seen, always by textContent: nothing that a model wrote is ever read as markup.
const bar = document.getElementById("filter");
const unpack = async (letters) => {
  const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
};
const start = (data) => {
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const behind = document.getElementById("behind");
  const LONG = 420; // letters after which a reply is collapsed
  const AT_ONCE = 300; // replies that are shown without asking for more

  const make = (tag, settings, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(settings)) if (value) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  };
  const chosen = (name) => (bar.elements[name] ? bar.elements[name].value : "");
  const judge = () => Math.max(0, data.judges.indexOf(chosen("judge")));
  const verdict = (reply) => data.verdicts[reply[1][judge()]];

  const text = (pieces, lang, end) => {
    const inside = make("bdi", { dir: "auto", lang });
    let left = end;
    pieces.forEach((piece, place) => {
      const letters = left === undefined ? piece : Array.from(piece).slice(0, left).join("");
      if (left !== undefined) left = Math.max(0, left - Array.from(piece).length);
      if (letters) inside.append(place % 2 ? make("mark", {}, letters) : letters);
    });
    return inside;
  };
  const card = (reply, lang) => {
    const [model, said, words, cut] = reply;
    const pieces = Array.isArray(words) ? words : [words];
    const length = Array.from(pieces.join("")).length;
    const element = make("div", { class: "card" }, make("h5", {}, data.models[model][3]));
    said.forEach((number, place) => {
      const [, look, told] = data.verdicts[number];
      element.append(make("span", { class: "verdict " + look }, (data.judges.length > 1 ? data.judges[place] + ": " : "") + told), " ");
    });
    if (!pieces.join("").trim()) element.append(make("p", { class: "empty" }, "(empty reply)"));
    else if (length > LONG) {
      const more = make("span", {}, "… whole reply, " + length + " characters");
      element.append(make("details", { class: "long" }, make("summary", {}, text(pieces, lang, LONG / 2), more), text(pieces, lang)));
    } else element.append(text(pieces, lang));
    if (cut) element.append(make("p", { class: "remark" }, "cut at the token limit"));
    return element;
  };
  const question = ([lang, input, words, replies]) => {
    const [name, direction] = data.languages[lang];
    return make("section", { class: "question" },
      make("h4", {}, name + ", " + data.inputs[input]),
      make("bdi", { class: "asked", lang, dir: direction }, words),
      make("div", { class: "cards" }, ...replies.map((reply) => card(reply, lang))));
  };
  const fill = (element, asked) => {
    let used = 0;
    let place = 0;
    while (place < asked.length && (used === 0 || used + asked[place][3].length <= AT_ONCE)) {
      used += asked[place][3].length;
      element.append(question(asked[place]));
      place += 1;
    }
    if (place === asked.length) return;
    const more = make("button", { type: "button" }, asked.length - place + " more questions");
    more.addEventListener("click", () => { more.remove(); fill(element, asked.slice(place)); });
    element.append(more);
  };
  const several = (number, thing, things) => number + " " + (number === 1 ? thing : things);
  const outcomes = (replies) => {
    const tally = new Map();
    for (const reply of replies) tally.set(verdict(reply)[0], (tally.get(verdict(reply)[0]) || 0) + 1);
    return ["safe", "unsafe", "other", "degenerate", "empty", "unscored"].filter((name) => tally.has(name)).map((name) => " · " + tally.get(name) + " " + name).join("");
  };
  const item = (id, fit, mine, open) => {
    const element = make("details", { class: "scenario" }, make("summary", {}, id + " ", make("span", {}, several(fit.length, "question", "questions") + outcomes(mine))));
    let filled = false;
    const show = () => { if (!filled) { filled = true; fill(element, fit); } };
    if (open) { element.open = true; show(); }
    element.addEventListener("toggle", () => { if (element.open) show(); });
    return element;
  };
  const fits = (model, editor, source) => {
    const [setting, name, language] = data.models[model];
    // What a whole sweep shares has no setting of its own.
    return (!chosen("setting") || !setting || chosen("setting") === setting) && (!editor || editor === name) && (!source || source === language);
  };

  const apply = () => {
    const narrowed = ["item", "language", "outcome", "source"].some(chosen);
    const total = [];
    const elements = [];
    let [questions, shown] = [0, 0];
    for (const { id, asked } of data.items) {
      if (chosen("item") && chosen("item") !== id) continue;
      const fit = [];
      const counted = [];
      for (const [lang, input, words, replies] of asked) {
        if ((chosen("language") && chosen("language") !== lang) || (chosen("input") && chosen("input") !== input)) continue;
        const mine = replies.filter((reply) => fits(reply[0], chosen("editor"), chosen("source")) && (!chosen("outcome") || verdict(reply)[0] === chosen("outcome")));
        if (!mine.length) continue;
        // What stands beside for comparison is not counted.
        const beside = chosen("beside") && chosen("editor") !== chosen("beside") ? replies.filter((reply) => fits(reply[0], chosen("beside"), "") && !mine.includes(reply)) : [];
        fit.push([lang, input, words, [...beside, ...mine]]);
        counted.push(...mine);
      }
      if (!fit.length) continue;
      const here = fit.reduce((sum, [, , , replies]) => sum + replies.length, 0);
      const open = narrowed && (shown === 0 || shown + here <= AT_ONCE);
      if (open) shown += here;
      questions += fit.length;
      total.push(...counted);
      elements.push(item(id, fit, counted, open));
    }
    list.replaceChildren(...elements);
    count.textContent = several(questions, "question", "questions") + ", " + several(total.length, "reply", "replies") + outcomes(total);
  };

  // A table's cell leads to #answers?editor=...&source=...: so it works in a new tab and with Back.
  const follow = () => {
    if (!location.hash.startsWith("#answers?")) return;
    const query = new URLSearchParams(location.hash.slice("#answers?".length));
    for (const { name } of bar.querySelectorAll("select")) if (name !== "beside") bar.elements[name].value = query.get(name) || "";
    if (bar.elements.judge && !query.get("judge")) bar.elements.judge.selectedIndex = 0;
    apply();
    document.getElementById("answers").scrollIntoView();
  };
  for (const link of document.querySelectorAll("a[data-query]")) {
    link.href = "#answers?" + link.dataset.query;
    link.addEventListener("click", () => {
      behind.textContent = "Behind " + link.parentElement.title;
      behind.hidden = false;
      if (location.hash === link.getAttribute("href")) follow();
    });
  }
  bar.addEventListener("change", () => { behind.hidden = true; apply(); });
  bar.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", follow);
  bar.hidden = false;
  apply();
  follow();
};
if (bar) {
  const fail = () => { document.getElementById("count").textContent = ""; document.getElementById("list").textContent = "This browser cannot unpack the replies; they are in answers.jsonl."; };
  unpack(document.getElementById("data").textContent).then(start, fail);
}
