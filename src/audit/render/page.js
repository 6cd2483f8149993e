"use strict";
(() => {
  const form = document.getElementById("filter");
  const rows = [...document.querySelectorAll(".findings tbody tr")];
  const count = document.getElementById("count");
  const table = document.querySelector(".matrix table");
  const heads = table ? [...table.querySelectorAll("th.rule")] : [];
  form.hidden = false;
  const filter = () => {
    const level = form.level.value, verdict = form.verdict.value;
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rules = new Set();
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const show = (!level || row.dataset.level === level) && (!verdict || row.dataset.verdict === verdict)
        && words.every((word) => text.includes(word));
      row.hidden = !show;
      if (show) { shown++; rules.add(row.dataset.rule); }
    }
    heads.forEach((head, index) => {
      const hide = !rules.has(head.textContent);
      head.hidden = hide;
      for (const row of table.tBodies[0].rows) {
        const cell = row.cells[index + 2];
        if (cell && row.cells.length === heads.length + 2) cell.hidden = hide;
      }
    });
    count.textContent = `${shown} of ${rows.length} findings`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  // A sign in the matrix leads to a finding that the filter may hide.
  addEventListener("hashchange", () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.hidden) { form.reset(); setTimeout(() => target.scrollIntoView()); }
  });
  document.getElementById("theme").addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
  });
  filter();
})();
