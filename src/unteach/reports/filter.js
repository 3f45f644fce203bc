"use strict";
// Shows the answers that fit all chosen filters; without script, everything can still be opened and read.
const bar = document.getElementById("filter");
if (bar) {
  bar.hidden = false;
  const count = document.getElementById("count");
  const fits = (element, name) => {
    const wanted = bar.elements[name].value;
    return wanted === "" || element.dataset[name] === wanted;
  };
  const apply = () => {
    let shown = 0;
    for (const scenario of document.querySelectorAll(".scenario")) {
      let here = 0;
      for (const question of scenario.querySelectorAll(".question")) {
        let cards = 0;
        for (const card of question.querySelectorAll(".card")) {
          card.hidden = !fits(card, "model");
          if (!card.hidden && fits(card, "verdict")) cards += 1;
        }
        question.hidden = !(fits(scenario, "scenario") && fits(question, "language") && fits(question, "part") && cards > 0);
        if (!question.hidden) here += 1;
      }
      scenario.hidden = here === 0;
      shown += here;
    }
    count.textContent = shown + " questions";
  };
  bar.addEventListener("change", () => {
    apply();
    const narrowed = ["scenario", "language", "verdict"].some((name) => bar.elements[name].value !== "");
    if (narrowed) for (const scenario of document.querySelectorAll(".scenario:not([hidden])")) scenario.open = true;
  });
  bar.addEventListener("submit", (event) => event.preventDefault());
  apply();
}
