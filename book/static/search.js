// What a page is about comes before what stands on it: index entries, glossary terms and headings
// that share the query's rare words are put above the full-text results of Sphinx.
(() => {
  if (typeof Search === "undefined") return;
  // Words of a question, which say nothing of its subject, else the search asks for each of them.
  stopwords.push("i", "my", "me", "we", "you", "what", "which", "how", "do", "does", "should", "can");
  // Snippets are fetched, which no page from the disk can do.
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

  const stemmer = new Stemmer();
  const stems = (text) => new Set(
    (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) || [])
      .filter((word) => !stopwords.includes(word))
      .map((word) => stemmer.stemWord(word).replace(/iz$/, "is"))); // memorize, memorise

  const weights = () => {
    const { terms, docnames } = Search._index;
    const pages = (stem) => [terms[stem] ?? []].flat().length;
    return (stem) => 0.3 + Math.log((docnames.length + 1) / (pages(stem) + 1));
  };

  // Twice the weight of the shared words by the weight of all words: 1 where they are the same.
  const similarity = (one, other, weight) => {
    const total = (words) => [...words].reduce((sum, word) => sum + weight(word), 0);
    return 2 * total([...one].filter((word) => other.has(word))) / (total(one) + total(other));
  };

  const candidates = function* () {
    const { indexentries, alltitles, titles, docnames } = Search._index;
    const worth = (page) => (docnames[page].startsWith("book/api/") ? 0.7 : 1); // names of code
    for (const [entry, places] of Object.entries(indexentries))
      for (const [page, id] of places) yield [entry, page, id, worth(page)];
    for (const [title, places] of Object.entries(alltitles))
      for (const [page, id] of places) yield [title, page, id, worth(page) * (titles[page] === title ? 0.95 : 0.85)];
  };

  const subjects = (query) => {
    const { docnames, filenames, titles } = Search._index;
    const words = stems(query), weight = weights(), best = new Map();
    for (const [text, page, id, factor] of candidates()) {
      const score = factor * similarity(words, stems(text), weight);
      if (score > 0.5 && score > (best.get(page)?.score ?? 0)) best.set(page, { score, text, id });
    }
    return [...best].sort(([, a], [, b]) => a.score - b.score).map(([page, { score, text, id }]) =>
      [docnames[page], titles[page], id ? "#" + id : "", text === titles[page] ? null : text,
        Math.round(1000 * score), filenames[page]]);
  };

  const fulltext = Search._performSearch;
  Search._performSearch = (query, ...rest) => {
    const first = subjects(query), known = new Set(first.map(([page]) => page));
    const others = fulltext(query, ...rest).filter(([page, , , what]) => what || !known.has(page));
    return [...others, ...first]; // Sphinx shows the last one first
  };
})();
