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
// On a phone a column of single words gets room. What scrolls sideways fades where it goes on; on
// a screen a table that is wider than its column gets smaller type first.
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  const range = document.createRange(), screen = matchMedia("(min-width: 1000px)");
  const isColumnOfWords = (cell) => {
    range.selectNodeContents(cell);
    return cell.clientWidth < 110 && range.getBoundingClientRect().height > 90;
  };
  if (innerWidth <= 600)
    [...document.querySelectorAll(".cell_output :is(td, th)")].filter(isColumnOfWords)
      .forEach((cell) => { cell.style.minWidth = "9rem"; });
  const boxes = ".bd-content :is(mjx-container, .math, pre, .cell_output, .text_html, .pst-scrollable-table-container)";
  for (const box of document.querySelectorAll(boxes)) {
    const fade = () => {
      const more = box.scrollWidth - box.clientWidth - box.scrollLeft > 2 && getComputedStyle(box).overflowX === "auto";
      box.classList.toggle("alf-more", more);
    };
    const fit = () => {
      box.classList.remove("alf-wide");
      if (screen.matches && box.matches(".cell_output .text_html"))
        box.classList.toggle("alf-wide", box.scrollWidth > box.clientWidth);
      fade();
    };
    box.addEventListener("scroll", fade, { passive: true });
    new ResizeObserver(fit).observe(box); // also when a fold opens or the window changes
  }
});
// What a word of the glossary means stands below the word, not at the edge of the window; Esc hides it.
for (const event of ["pointerover", "focusin"]) addEventListener(event, ({ target }) => {
  if (!target.matches(".alf-term") || innerWidth < 600) return;
  const hint = target.nextElementSibling, [word] = target.getClientRects();
  const left = Math.max(8, Math.min(word.left, innerWidth - hint.offsetWidth - 24));
  hint.style.inset = `${word.bottom}px auto auto ${left}px`;
});
addEventListener("keydown", ({ key }) => key === "Escape" && document.activeElement.matches(".alf-term") && document.activeElement.blur());
