/* Rank guides before pages of the reference, and first those with all words in the title; the rest is Sphinx's own. */
const query = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
const inTitle = (title) => query.length && query.every((word) => title.toLowerCase().includes(word.replace(/s$/, "")));
var Scorer = {
  score: ([page, title, , , score]) => (/^(how-to|tutorial)\//.test(page) ? score + 4 + (inTitle(title) ? 10 : 0) : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
