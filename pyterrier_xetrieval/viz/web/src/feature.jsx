// The page of one feature: what is known of it, how to turn it up and down, where it is, and what is like it.

import { readingsOf } from "./labels.js";
import { explain } from "./maths.js";
import { counted, fixed, percent } from "./numbers.js";
import { documentsWith, entryOf, nearest } from "./page.js";
import { Snippet } from "./text.jsx";

const STRONG = 5;
const WEAK = 3;
const FAINT = 0.3; // of the largest activation: below, a label often does not fit

export function Feature({ page, state, change, edits, edit, slot }) {
  const j = state.feature;
  const found = documentsWith(page, j);
  const faint = page.maxima[j] > 0 ? found.filter(({ share }) => share < FAINT) : [];
  const weak = faint.slice(0, WEAK).filter((row) => !found.slice(0, STRONG).includes(row));
  const here = explain(page, state.query, state.document, edits);
  const row = [...here.rows, ...here.weak].find((own) => own.feature === j);
  const label = row?.label ?? page.labels[j]; // what this pair's row is called
  const others = readingsOf(page.labels[j]).filter((reading) => reading !== label && reading !== row?.meant && page.labels[j] !== label);
  return (
    <aside class="feature" aria-label="Feature">
      <header>
        <h2>
          <span class={`chip b${slot}`} /> {label}
        </h2>
        <button class="quiet close" aria-label="close this feature" onClick={() => change({ feature: null })}>
          ×
        </button>
      </header>
      {others.length > 0 && <p class="soft facts">In other texts: {others.join(" / ")}.</p>}
      <p class="soft facts">
        feature {page.ids[j]} · in {counted(page.counts[j], "document")} of {page.size.toLocaleString("en")} (
        {percent(page.counts[j] / page.size)})
        {row && !Number.isNaN(row.confidence) && <> · confidence for this pair {percent(row.confidence)}</>}
        {!Number.isNaN(page.detection[j]) && (
          <> · <span title="how well a judge told texts with the feature from others by its label: 50 % is chance">
            test of its label {percent(page.detection[j])}
          </span></>
        )}
      </p>
      <Slider {...{ page, state, edits, edit }} />
      <Histogram page={page} feature={j} />
      <h3>Strongest texts</h3>
      {found.length > 0 && page.maxima[j] > 0 && found[0].share < FAINT && (
        <p class="soft">None is above {percent(FAINT)} of its maximum: here the label often does not fit.</p>
      )}
      <Texts rows={found.slice(0, STRONG)} {...{ page, change, slot, feature: j }} />
      {found.length === 0 && <p class="soft">No document in this page has it.</p>}
      {weak.length > 0 && (
        <>
          <h3>Weak: here the label often does not fit</h3>
          <Texts rows={weak} {...{ page, change, slot, feature: j }} />
        </>
      )}
      <h3>Features like this one</h3>
      <ul class="near">
        {nearest(page, j).map(({ feature, cosine }) => (
          <li key={feature}>
            <button class="link" onClick={() => change({ feature })}>
              {page.labels[feature]}
            </button>{" "}
            <span class="number soft" title="cosine of the two directions">{fixed(cosine, 2)}</span>
          </li>
        ))}
      </ul>
    </aside>
  );
}

// A feature that the query has is scaled, mode "scale"; one that it has not is added, mode "add".
function Slider({ page, state, edits, edit }) {
  const j = state.feature;
  const has = entryOf(page.queries, state.query, j) >= 0;
  if (!has && !(page.maxima[j] > 0)) return null; // in units of what?
  const [neutral, least, most] = has ? [1, 0, 3] : [0, -1, 1];
  const value = edits.get(j) ?? neutral;
  const said = has ? `× ${fixed(value, 2)}` : `${value < 0 ? "−" : "+"} ${fixed(Math.abs(value), 2)} of its maximum`;
  return (
    <div class="slider">
      <label for="slider">{has ? "In the query" : "Not in the query: add it"}</label>
      <output for="slider">{value === neutral ? (has ? "unchanged" : "nothing added") : said}</output>
      <input
        id="slider"
        type="range"
        min={least}
        max={most}
        step="0.05"
        value={value}
        onInput={(event) => edit(j, Number(event.currentTarget.value) === neutral ? null : Number(event.currentTarget.value))}
      />
      <span class="ends soft" aria-hidden="true">
        <span>{has ? "off" : "against"}</span>
        <button class="link" disabled={value === neutral} onClick={() => edit(j, null)}>
          {has ? "as it is" : "nothing"}
        </button>
        <span>{has ? "× 3" : "for"}</span>
      </span>
    </div>
  );
}

function Histogram({ page, feature }) {
  const bins = page.histograms.length / page.ids.length;
  const counts = page.histograms.slice(feature * bins, (feature + 1) * bins);
  const highest = Math.max(...counts);
  if (!highest || !(page.maxima[feature] > 0)) return null;
  const said = Array.from(counts, (n, i) => `${percent(i / bins)} to ${percent((i + 1) / bins)}: ${n}`).join("; ");
  return (
    <figure class="histogram">
      <figcaption>How strongly documents have it</figcaption>
      <svg viewBox={`0 0 ${bins * 10} 40`} preserveAspectRatio="none" role="img" aria-label={`Documents by activation over the largest: ${said}`}>
        {Array.from(counts, (n, i) => {
          const height = n ? Math.max(1, (40 * n) / highest) : 0;
          return <rect key={i} x={i * 10 + 0.5} width="9" y={40 - height} height={height}><title>{n}</title></rect>;
        })}
      </svg>
      <span class="ends soft"><span>weak</span><span>its maximum, {fixed(page.maxima[feature], 2)}</span></span>
    </figure>
  );
}

function Texts({ page, change, rows, slot, feature: j }) {
  return (
    <ul class="examples">
      {rows.map(({ document, entry, share }) => (
        <li key={document}>
          <button class="link" onClick={() => change({ document, against: null, view: "explanation" })}>
            {page.documents.docnos[document]}
          </button>{" "}
          {page.maxima[j] > 0 && <span class="number soft" title="of the feature's largest activation">{percent(share)}</span>}
          <p dir="auto">
            <Snippet {...{ page, document, entry, slot }} />
          </p>
        </li>
      ))}
    </ul>
  );
}
