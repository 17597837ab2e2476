/* Rank guides before pages of the reference when both contain the words; the other numbers are Sphinx's own. */
var Scorer = {
  score: ([page, , , , score]) => score + (/^(how-to|tutorial)\//.test(page) ? 4 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
