// The page of all verdicts: show the rows of one verdict and one chapter. What is chosen stands in
// the address, #verdict=repaired&chapter=7, so that it can be linked; without this script all rows
// are there.
(() => {
  const table = document.querySelector("table.alf-verdicts");
  if (!table || !table.querySelector("tr[data-verdict]")) return;
  const rows = [...table.querySelectorAll("tr[data-verdict]")];
  const options = (key) => [...new Set(rows.map((row) => row.dataset[key]))];
  const chosen = { verdict: "", chapter: "" };

  const bar = document.createElement("div");
  bar.className = "alf-filter";
  const fields = {};
  for (const key of ["verdict", "chapter"]) {
    const label = bar.appendChild(document.createElement("label"));
    label.append(`${key} `);
    fields[key] = label.appendChild(document.createElement("select"));
    for (const value of ["", ...options(key)]) {
      const count = rows.filter((row) => !value || row.dataset[key] === value).length;
      fields[key].add(new Option(value ? `${value} (${count})` : `all (${count})`, value));
    }
    fields[key].addEventListener("change", () => {
      chosen[key] = fields[key].value;
      const state = Object.entries(chosen).filter(([, value]) => value);
      history.replaceState(null, "", "#" + new URLSearchParams(state));
      show();
    });
  }
  const shown = bar.appendChild(document.createElement("span"));
  shown.setAttribute("aria-live", "polite");
  table.before(bar);

  const show = () => {
    let number = 0;
    for (const row of rows) {
      row.hidden = Object.entries(chosen).some(([key, value]) => value && row.dataset[key] !== value);
      number += !row.hidden;
    }
    shown.textContent = `${number} of ${rows.length} statements`;
  };

  // From the address: a choice, or the anchor of one row, which must not be hidden then.
  const read = () => {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(chosen)) {
      chosen[key] = options(key).includes(state.get(key)) ? state.get(key) : "";
      fields[key].value = chosen[key];
    }
    show();
    if (state.get("verdict") || state.get("chapter")) bar.scrollIntoView();
  };
  addEventListener("hashchange", read);
  read();
})();
