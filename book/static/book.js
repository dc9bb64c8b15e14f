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
