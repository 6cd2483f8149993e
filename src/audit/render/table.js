"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filter");
  const box = document.getElementById("table");
  const detail = document.getElementById("detail");
  const count = document.getElementById("count");
  const SIGNS = { p: ["pass", "✓"], f: ["fail", "✗"], u: ["unknown", "?"], "-": ["not_applicable", "–"] };
  const CLASSES = { pass: "pass", fail: "fail", error: "fail", inconclusive: "unknown" };
  const HEIGHT = 32;
  // Text is only ever set as text: nothing in a name acts.
  const make = (name, cls, text) => {
    const element = document.createElement(name);
    if (cls) element.className = cls;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const table = make("table"), head = make("thead"), body = make("tbody");
  const titles = make("tr");
  for (const title of ["Input", "Verdict", "Kernel"]) titles.append(make("th", "", title));
  for (const rule of data.rules) {
    const th = make("th", "rule");
    th.title = rule.title;
    th.append(make("span", "", rule.id));
    titles.append(th);
    form.rule.append(make("option", "", rule.id));
  }
  head.append(titles);
  table.append(head, body);
  box.append(table);
  form.hidden = box.hidden = false;
  const at = new Map(data.rules.map((rule, index) => [rule.id, index]));
  let shown = data.inputs;

  const row = (input) => {
    const tr = make("tr");
    tr.style.height = `${HEIGHT}px`;
    const th = make("th"), button = make("button", "name", input.name);
    button.type = "button";
    button.title = input.name;
    button.addEventListener("click", () => show(input));
    th.append(button);
    tr.append(th, make("td", CLASSES[input.verdict], input.verdict), make("td", "kernel", input.kernel));
    const lesser = new Set(input.open.filter((own) => !own[2]).map((own) => own[0]));
    data.rules.forEach((rule, index) => {
      const [cls, sign] = SIGNS[input.verdicts[index]] || ["", ""];
      const td = make("td", cls + (lesser.has(index) ? " lesser" : ""), sign);
      td.title = rule.id;
      tr.append(td);
    });
    return tr;
  };
  const gap = (rows) => {
    const tr = make("tr"), td = make("td");
    td.colSpan = data.rules.length + 3;
    td.style.cssText = `height:${rows * HEIGHT}px;padding:0;border:0`;
    tr.append(td);
    return tr;
  };
  // Only the rows that can be seen are in the page.
  const draw = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - 10);
    const last = Math.min(shown.length, first + Math.ceil(box.clientHeight / HEIGHT) + 30);
    body.replaceChildren(gap(first), ...shown.slice(first, last).map(row), gap(shown.length - last));
  };
  const show = (input) => {
    const list = make("table", "findings");
    for (const [index, reason, decides, fix] of input.open) {
      const rule = data.rules[index], [cls, sign] = SIGNS[input.verdicts[index]];
      const tr = make("tr"), text = make("td", "", reason), name = make("td");
      name.append(make("b", "", rule.id), ` ${rule.title}`);
      text.append(make("p", "", rule.effect), make("p", "", `Fix: ${fix || rule.fix}`));
      tr.append(make("td", decides ? cls : `${cls} lesser`, sign), name, make("td", "", rule.level), text);
      list.append(tr);
    }
    const notes = make("ul");
    for (const note of input.notes) notes.append(make("li", "", note));
    detail.replaceChildren(make("h2", "", input.name),
      make("p", `verdict ${CLASSES[input.verdict]}`, input.line),
      make("p", "", [input.kernel, input.config].filter(Boolean).join("; config: ")), notes, list);
    detail.scrollIntoView({ block: "nearest" });
  };
  const filter = () => {
    const words = form.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rule = at.get(form.rule.value);
    shown = data.inputs.filter((input) => {
      const text = `${input.name} ${input.kernel} ${input.line}`.toLowerCase();
      return (!form.verdict.value || input.verdict === form.verdict.value)
        && (rule === undefined || input.open.some((own) => own[0] === rule))
        && words.every((word) => text.includes(word));
    });
    count.textContent = `${shown.length} of ${data.inputs.length} inputs`;
    box.scrollTop = 0;
    draw();
  };
  box.addEventListener("scroll", draw);
  addEventListener("resize", draw);
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  document.getElementById("theme").addEventListener("change", (event) => {
    if (event.target.value) document.documentElement.dataset.theme = event.target.value;
    else delete document.documentElement.dataset.theme;
  });
  filter();
})();
