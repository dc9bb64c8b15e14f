// Every page: what is folded is printed, and folds again after it.
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((fold) => { fold.open = false; }));
})();
// On a phone (book.css): a tap shows a figure in its full size, the next one fits it to the screen.
addEventListener("click", ({ target }) => {
  if (target.matches("figure img")) target.closest("figure").classList.toggle("alf-large");
});
// A formula stays on one line with the sign that follows it.
addEventListener("DOMContentLoaded", () => {
  for (const formula of document.querySelectorAll("span.math")) {
    const next = formula.nextSibling;
    const sign = next?.nodeType === Node.TEXT_NODE && next.data.match(/^[.,:;!?)”’]+/);
    if (!sign) continue;
    next.splitText(sign[0].length);
    const whole = document.createElement("span");
    whole.style.whiteSpace = "nowrap";
    formula.replaceWith(whole);
    whole.append(formula, next);
  }
});
// A table that is wider than its column gets smaller type. A phone scrolls instead.
addEventListener("load", async () => {
  if (!matchMedia("(min-width: 1000px)").matches) return;
  await window.MathJax?.startup?.promise;
  for (const box of document.querySelectorAll(".cell_output .text_html")) {
    box.classList.toggle("alf-wide", box.scrollWidth > box.clientWidth);
  }
});
