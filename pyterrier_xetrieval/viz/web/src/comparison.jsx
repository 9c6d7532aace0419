// Two documents side by side: signed bars that add up to the difference of their scores, and both texts.

import { DocumentText, slotted } from "./explanation.jsx";
import { compare } from "./maths.js";
import { fixed, signed } from "./numbers.js";
import { entryOf } from "./page.js";

const ROWS = 10;

// The features of a comparison that have a row, with their colours.
export const comparedRows = (features) => slotted(features.filter((row) => row.shown).slice(0, ROWS));

export function Comparison({ page, state, change, edits }) {
  const { query: q, document: left, against: right, feature } = state;
  const { sides, features, parts, difference } = compare(page, q, left, right, edits);
  const docnos = [left, right].map((d) => page.documents.docnos[d]);
  const rows = comparedRows(features);
  const rest = features.filter((row) => !rows.some((own) => own.feature === row.feature));
  const sum = (side) => rest.reduce((total, row) => total + row.parts[side], 0);
  const lines = [
    ...rows,
    { label: `${rest.length} other shared features`, parts: [sum(0), sum(1)] },
    ...parts,
  ];
  const widest = Math.max(...lines.map((row) => Math.abs(row.parts[0] - row.parts[1])), 1e-9);
  const value = (row) => row.parts[0] - row.parts[1];
  const least = Math.max(0.0005, ...rows.map((row) => Math.abs(value(row)) / 10)); // smaller ones are not worth a word
  const speaking = (sign) => rows.filter((row) => sign * value(row) * (difference >= 0 ? 1 : -1) > least);
  const [main, against] = [speaking(1).slice(0, 2), speaking(-1).slice(0, 1)];
  const told = main.reduce((sum, row) => sum + value(row), 0);
  const named = (row) => [<em>{row.label}</em>, ` (${signed(value(row))})`];
  return (
    <article class="comparison">
      <header>
        <h2>
          {docnos[0]} <span class="soft">against</span> {docnos[1]}
        </h2>
        <button class="quiet" onClick={() => change({ against: null })}>
          back to the explanation
        </button>
      </header>
      <p class="sentence">
        {docnos[0]} scores {fixed(Math.abs(difference))} {difference >= 0 ? "more" : "less"} than {docnos[1]}
        {main.length > 0 && [
          Math.abs(told) >= Math.abs(difference) / 2 ? ", mainly for " : "; of the features shown, most speaks for it ",
          main.map((row, i) => [i > 0 && " and ", named(row)]),
        ]}
        {against.length > 0 && ["; ", named(against[0]), " counts the other way"]}.
      </p>
      {edits.size > 0 && <p class="soft">These are scores of the changed query.</p>}
      <table class="rows compared">
        <caption class="hidden">Parts of both scores and their differences, which add up to the difference of the scores</caption>
        <thead>
          <tr>
            <th scope="col">feature</th>
            <th scope="col" class="number">{docnos[0]}</th>
            <th scope="col" class="number">{docnos[1]}</th>
            <th scope="col" class="number">difference</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((row) => {
            const apart = value(row);
            return (
              <tr key={row.label + row.feature} class={row.feature !== undefined && row.feature === feature ? "chosen" : ""}>
                <th scope="row">
                  {row.slot === undefined ? (
                    <span class="soft">{row.label}</span>
                  ) : (
                    <button onClick={() => change({ feature: row.feature === feature ? null : row.feature })}>
                      <span class={`chip b${row.slot}`} />
                      <span class="label">{row.label}</span> <span class="id">{page.ids[row.feature]}</span>
                    </button>
                  )}
                </th>
                <td class="number">{fixed(row.parts[0])}</td>
                <td class="number">{fixed(row.parts[1])}</td>
                <td class="number">
                  {signed(apart)}
                  <span class="bar both">
                    <span class={apart < 0 ? "against" : "for"} style={{ width: `${(50 * Math.abs(apart)) / widest}%` }} />
                  </span>
                </td>
              </tr>
            );
          })}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">score</th>
            <td class="number">{fixed(sides[0].score)}</td>
            <td class="number">{fixed(sides[1].score)}</td>
            <td class="number">{signed(difference)}</td>
          </tr>
        </tfoot>
      </table>
      <div class="pair">
        {[left, right].map((d, i) => (
          <section class="texts" key={d}>
            <h3>{docnos[i]}</h3>
            <DocumentText
              page={page}
              d={d}
              rows={rows.map((row) => ({ ...row, entry: entryOf(page.documents, d, row.feature) }))}
              chosen={rows.some((row) => row.feature === feature) ? feature : null}
            />
          </section>
        ))}
      </div>
    </article>
  );
}
