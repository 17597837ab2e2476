/* Render each formula. A displayed formula wraps at its operators; one that is still wider than its column shrinks, and
   before that, aligned lines are separated, so that each of them can wrap at its texts too. */
function render(formula, tex) {
  katex.render(tex, formula, { displayMode: formula.tagName === "DIV" });
}

function fit(formula) {
  const ratio = () => formula.clientWidth / formula.scrollWidth;
  const tex = formula.dataset.tex;
  formula.style.fontSize = "";
  render(formula, tex);
  const rows = tex.match(/^\\begin\{aligned\}((?:(?!\\begin)[^])*)\\end\{aligned\}$/);
  if (ratio() < 1 && rows) {
    formula.replaceChildren();
    for (const row of rows[1].split("\\\\")) {
      const line = formula.appendChild(document.createElement("div"));
      render(line, row.replaceAll("&", "").replaceAll(/\s\\text\{/g, " \\allowbreak\\text{"));
    }
  }
  if (ratio() < 1) formula.style.fontSize = `${Math.floor(ratio() * 98)}%`;
}

function fitAll() {
  document.querySelectorAll("div.math").forEach(fit);
}

for (const formula of document.querySelectorAll(".math.notranslate")) {
  formula.dataset.tex = formula.textContent;
  render(formula, formula.dataset.tex);
}
document.fonts.ready.then(fitAll);
window.addEventListener("resize", fitAll);
