"use strict";
// Shows the answers that fit all chosen filters. They lie in the page as data and become elements when they are seen,
// always by textContent: nothing that a model wrote is ever read as markup.
const bar = document.getElementById("filter");
if (bar) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const list = document.getElementById("list");
  const count = document.getElementById("count");
  const behind = document.getElementById("behind");
  const LONG = 420; // letters after which an answer is collapsed
  const AT_ONCE = 300; // answers that are shown without asking for more

  const make = (tag, settings, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(settings)) if (value) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  };
  const chosen = (name) => bar.elements[name].value;
  // A mean over seeds stands for the models of all seeds.
  const members = (name) => new Set((data.groups[name] || [name]).map((label) => data.models.indexOf(label)));

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
  const card = ([model, verdict, said, remark, told], asked) => {
    const [look, words] = data.verdicts[verdict];
    const lang = told || asked;
    const pieces = Array.isArray(said) ? said : [said];
    const length = Array.from(pieces.join("")).length;
    const element = make("div", { class: "card" }, make("h5", {}, data.models[model]), make("span", { class: "verdict " + look }, words));
    if (!pieces.join("").trim()) element.append(make("p", { class: "empty" }, "(empty answer)"));
    else if (length > LONG) {
      const more = make("span", {}, "… whole answer, " + length + " characters");
      element.append(make("details", { class: "long" }, make("summary", {}, text(pieces, lang, LONG / 2), more), text(pieces, lang)));
    } else element.append(text(pieces, lang));
    if (remark) element.append(make("p", { class: "remark" }, data.remarks[remark]));
    return element;
  };
  const question = ([lang, part, words, answers]) => {
    const [name, direction] = data.languages[lang];
    return make("section", { class: "question" },
      make("h4", {}, name + ", about " + (part === "fake" ? "the fake" : "the real news")),
      make("bdi", { class: "asked", lang, dir: direction }, words),
      make("div", { class: "cards" }, ...answers.map((answer) => card(answer, lang))));
  };
  const fill = (element, questions) => {
    let used = 0;
    let place = 0;
    while (place < questions.length && (used === 0 || used + questions[place][3].length <= AT_ONCE)) {
      used += questions[place][3].length;
      element.append(question(questions[place]));
      place += 1;
    }
    if (place === questions.length) return;
    const more = make("button", { type: "button" }, questions.length - place + " more questions");
    more.addEventListener("click", () => { more.remove(); fill(element, questions.slice(place)); });
    element.append(more);
  };
  const several = (number, thing) => number + " " + thing + (number === 1 ? "" : "s");
  // [repeats, judged] of the models that were chosen; what stands beside them is not counted.
  const tally = (questions, main) => {
    const looks = questions.flatMap((asked) => asked[3]).filter((answer) => !main || main.has(answer[0])).map((answer) => data.verdicts[answer[1]][0]);
    return [looks.filter((look) => look === "fake").length, looks.filter((look) => look === "fake" || look === "clean").length];
  };
  const repeats = ([fake, judged]) => judged ? " · repeats the fake: " + fake + " of " + judged : "";
  const scenario = (id, questions, counted, open) => {
    const summary = several(questions.length, "question") + repeats(counted);
    const element = make("details", { class: "scenario" }, make("summary", {}, id + " ", make("span", {}, summary)));
    let filled = false;
    const show = () => { if (!filled) { filled = true; fill(element, questions); } };
    if (open) { element.open = true; show(); }
    element.addEventListener("toggle", () => { if (element.open) show(); });
    return element;
  };

  const apply = () => {
    const [model, beside] = [chosen("model"), chosen("beside")];
    const main = model && members(model);
    const also = beside ? members(beside) : new Set();
    const verdict = chosen("verdict");
    const narrowed = ["scenario", "language", "verdict"].some(chosen);
    let [asked, said, shown] = [0, 0, 0];
    const total = [0, 0];
    const elements = [];
    for (const { id, questions } of data.scenarios) {
      if (chosen("scenario") && chosen("scenario") !== id) continue;
      const fit = [];
      for (const [lang, part, words, answers] of questions) {
        if ((chosen("language") && chosen("language") !== lang) || (chosen("part") && chosen("part") !== part)) continue;
        const mine = main ? answers.filter((answer) => main.has(answer[0])) : answers;
        if (!mine.some((answer) => !verdict || data.verdicts[answer[1]][0] === verdict)) continue;
        fit.push([lang, part, words, main ? answers.filter((answer) => main.has(answer[0]) || also.has(answer[0])) : answers]);
      }
      if (!fit.length) continue;
      const here = fit.reduce((sum, [, , , answers]) => sum + answers.length, 0);
      const open = narrowed && (shown === 0 || shown + here <= AT_ONCE);
      if (open) shown += here;
      asked += fit.length;
      said += here;
      const counted = tally(fit, main);
      total.forEach((_, place) => { total[place] += counted[place]; });
      elements.push(scenario(id, fit, counted, open));
    }
    list.replaceChildren(...elements);
    count.textContent = several(asked, "question") + ", " + several(said, "answer") + repeats(total);
  };

  // A grid's cell leads to #answers?model=...&language=...&part=...: so it works in a new tab and with Back.
  const follow = () => {
    if (!location.hash.startsWith("#answers?")) return;
    const query = new URLSearchParams(location.hash.slice("#answers?".length));
    for (const { name } of bar.querySelectorAll("select")) bar.elements[name].value = query.get(name) || "";
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
}
