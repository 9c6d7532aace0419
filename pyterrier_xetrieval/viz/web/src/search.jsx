// One field that finds features by the words of their labels, and documents by name or text.

import { useMemo, useRef, useState } from "preact/hooks";
import { counted } from "./numbers.js";

const MOST = 8;

function find(page, words) {
  const asked = words.trim().toLowerCase();
  if (!asked) return null;
  const parts = asked.split(/\s+/);
  const fits = (text) => parts.every((part) => text.includes(part));
  const features = [];
  page.labels.forEach((label, j) => (fits(label.toLowerCase()) || String(page.ids[j]) === asked) && features.push(j));
  features.sort((a, b) => page.counts[b] - page.counts[a]);
  const named = [];
  const inside = [];
  page.documents.docnos.forEach((docno, d) => {
    if (docno.toLowerCase().includes(asked)) named.push(d);
    else if (fits(page.documents.texts[d].toLowerCase())) inside.push(d);
  });
  named.sort((a, b) => page.documents.docnos[a].length - page.documents.docnos[b].length);
  return { features, documents: [...named, ...inside] };
}

export function Search({ page, change }) {
  const [words, setWords] = useState("");
  const box = useRef(null);
  const found = useMemo(() => find(page, words), [page, words]);
  const chosen = (part) => {
    setWords("");
    change(part);
  };
  const keyed = (event) => {
    if (event.key === "Escape") setWords("");
    if (event.key === "Enter" && event.target.tagName === "INPUT") box.current.querySelector(".found button")?.click();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const all = [...box.current.querySelectorAll("input, .found button")];
    const next = all[all.indexOf(document.activeElement) + step];
    if (step && next) {
      next.focus();
      event.preventDefault();
    }
  };
  return (
    <div class="search" ref={box} onKeyDown={keyed} role="search">
      <input
        type="search"
        placeholder="Find a feature or a document"
        aria-label="Find a feature or a document"
        value={words}
        onInput={(event) => setWords(event.currentTarget.value)}
      />
      {found && (
        <div class="found">
          <h3>{counted(found.features.length, "feature")}</h3>
          <ul>
            {found.features.slice(0, MOST).map((feature) => (
              <li key={feature}>
                <button onClick={() => chosen({ feature })}>
                  {page.labels[feature]} <span class="soft">{page.counts[feature].toLocaleString("en")}</span>
                </button>
              </li>
            ))}
          </ul>
          <h3>{counted(found.documents.length, "document")}</h3>
          <ul>
            {found.documents.slice(0, MOST).map((document) => (
              <li key={document}>
                <button onClick={() => chosen({ document, against: null, view: "explanation" })}>{page.documents.docnos[document]}</button>
              </li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}
