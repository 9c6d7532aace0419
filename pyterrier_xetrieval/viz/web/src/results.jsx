// The list of results, with what the edits of the query have done to it.

import { useState } from "preact/hooks";
import { explain } from "./maths.js";
import { fixed } from "./numbers.js";

const STEP = 10;

export function Results({ page, state, change, ranked, edits, ticked, tick }) {
  const [shown, setShown] = useState(Math.max(STEP, Math.min(20, page.rankings[state.query].length)));
  const moved = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...event.currentTarget.querySelectorAll("button.result")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) {
      next.focus();
      event.preventDefault();
    }
  };
  return (
    <nav class="results" aria-label="Results">
      <ol onKeyDown={moved}>
        {ranked.slice(0, shown).map((row) => (
          <Result {...{ page, state, change, row, edits, ticked, tick }} key={row.document} />
        ))}
      </ol>
      {shown < ranked.length && (
        <button class="quiet" onClick={() => setShown(shown + STEP)}>
          {STEP} more of {ranked.length.toLocaleString("en")}
        </button>
      )}
    </nav>
  );
}

function Result({ page, state, change, row, edits, ticked, tick }) {
  const docno = page.documents.docnos[row.document];
  const why = explain(page, state.query, row.document, edits).rows.slice(0, 2);
  const chosen = row.document === state.document;
  const rise = row.rankBefore - row.rank;
  return (
    <li class={chosen ? "chosen" : ""}>
      <input
        type="checkbox"
        aria-label={`compare ${docno}`}
        title="tick two results to compare them"
        checked={ticked.includes(row.document)}
        onChange={() => tick(row.document)}
      />
      <button
        class="result"
        aria-current={chosen ? "true" : undefined}
        onClick={() => change({ document: row.document, against: null, view: "explanation" })}
      >
        <span class="place">{row.rank + 1}</span>
        <span class="docno">{docno}</span>
        <span class="number">{fixed(row.score)}</span>
        <span class="gist">
          {why.length ? why.map((own) => own.label).join(" · ") : "no feature whose label surely fits"}
        </span>
        {edits.size > 0 && rise !== 0 && (
          <span class={`moved ${rise > 0 ? "up" : "down"}`}>
            {rise > 0 ? "▲" : "▼"} {Math.abs(rise)}
            <span class="hidden"> {rise > 0 ? "up" : "down"}</span>
          </span>
        )}
      </button>
    </li>
  );
}
