"""How the page looks, and the script that sorts its tables and opens what an anchor or a printer asks for."""

STYLE = """\
:root { color-scheme: light dark; --ink: #111; --soft: #555; --paper: #fff; --rule: #d5d5d5; --tint: #f3f3f3;
  --link: #00508a; --better: #00684a; --worse: #a3260b; --same: #555; --open: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #aaa; --paper: #16181b; --rule: #3a3e44;
  --tint: #23262b; --link: #7db8ec; --better: #5ccfa2; --worse: #ff9a80; --same: #b5b5b5; --open: #e9b949; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; }
h1 { margin: 0 0 1rem; }
h2 { margin: 3.2rem 0 .6rem; overflow-wrap: anywhere; }
h3 { display: inline; font-size: 1rem; }
p { max-width: 60rem; }
a { color: var(--link); }
[id] { scroll-margin-top: 3.5rem; }
code { font-size: .92em; background: var(--tint); padding: 0 .2em; overflow-wrap: anywhere; }
.verdicts { list-style: none; padding: 0; }
.verdicts li, p.verdict { max-width: 60rem; margin: .5rem 0; padding-left: .8rem; border-left: .3rem solid; }
.verdicts li, p.verdict { border-color: var(--tone); }
.better { --tone: var(--better); } .worse { --tone: var(--worse); }
.same { --tone: var(--same); } .open { --tone: var(--open); }
.tone { color: var(--tone); font-weight: 700; margin-right: .4em; }
.question { display: block; font-size: .84rem; color: var(--soft); }
nav { position: sticky; top: 0; z-index: 1; background: var(--paper); border-block: 1px solid var(--rule); }
nav ul { display: flex; gap: 1.2rem; margin: 0; padding: .5rem 0; list-style: none; overflow-x: auto; }
nav li, .verdicts code { white-space: nowrap; }
@media (min-width: 50rem) { nav ul { flex-wrap: wrap; gap: .2rem 1.2rem; } }
details { border-bottom: 1px solid var(--rule); padding: .35rem 0; }
summary { cursor: pointer; padding: .2rem 0; }
summary .anchor { margin-left: .5em; text-decoration: none; opacity: .55; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: .25em .6em; text-align: right; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
tr > :first-child { text-align: left; white-space: nowrap; }
td { white-space: nowrap; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: inherit; }
th button { cursor: pointer; }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
.wide { position: relative; overflow-x: auto; margin: .8em 0 .4em; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
figure { margin: 1rem 0 1.6rem; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
figcaption, .note { font-size: .84rem; max-width: 60rem; }
.note, .made { color: var(--soft); }
details.made { border: 0; padding: 0; }
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --rule: #ccc; --tint: #f3f3f3; --better: #00684a; --worse: #a3260b;
    --same: #555; --open: #7a5200; }
  body { max-width: none; margin: 0; font-size: 10pt; }
  nav, summary .anchor { display: none; }
  a { color: inherit; text-decoration: none; }
  section.job { break-before: page; }
  figure, tr { break-inside: avoid; }
  figure img { max-height: 11cm; }
  h2, summary { break-after: avoid; }
  .wide { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .15em .3em; }
  td { white-space: normal; }
}
"""

SCRIPT = """\
"use strict";
const number = (cell) => {
  const text = cell.textContent.trim().replaceAll("−", "-").replaceAll(",", "");
  return /^-?∞/.test(text) ? (text[0] === "-" ? -Infinity : Infinity) : parseFloat(text);
};
const compare = (a, b, column) => {
  const [x, y] = [number(a.cells[column]), number(b.cells[column])];
  if (!isNaN(x) && !isNaN(y)) return x - y || 0;
  return a.cells[column].textContent.localeCompare(b.cells[column].textContent);
};
const ORDERS = { none: "descending", descending: "ascending", ascending: "none" };
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], given = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = ORDERS[head.getAttribute("aria-sort") ?? "none"];
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      const empty = (row) => row.cells[column].textContent.trim() === "";
      let rows = given;
      if (order !== "none") {
        head.setAttribute("aria-sort", order);
        const sign = order === "ascending" ? 1 : -1;
        const full = given.filter((row) => !empty(row)).sort((a, b) => sign * compare(a, b, column));
        rows = [...full, ...given.filter(empty)];
      }
      body.append(...rows);
    });
  });
}
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let each = target.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((each) => { each.open = true; });
});
addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
"""
"""Without it everything is still there to read: tables keep their order, and a fold opens by hand."""
