// Two documents side by side: signed bars that add up to the difference of their scores, and both texts.

import { slotted } from "./explanation.jsx";
import { compare } from "./maths.js";
import { fixed, signed } from "./numbers.js";
import { entryOf } from "./page.js";
import { Marked } from "./text.jsx";

const ROWS = 10;

export function Comparison({ page, state, change }) {
  const { query: q, document: left, against: right, feature } = state;
  const { sides, features, parts, difference } = compare(page, q, left, right);
  const docnos = [left, right].map((d) => page.documents.docnos[d]);
  const rows = slotted(features.filter((row) => row.shown).slice(0, ROWS));
  const rest = features.filter((row) => !rows.some((own) => own.feature === row.feature));
  const sum = (side) => rest.reduce((total, row) => total + row.parts[side], 0);
  const lines = [
    ...rows,
    { label: `${rest.length} other shared features`, parts: [sum(0), sum(1)] },
    ...parts,
  ];
  const widest = Math.max(...lines.map((row) => Math.abs(row.parts[0] - row.parts[1])), 1e-9);
  const main = rows.filter((row) => (row.parts[0] - row.parts[1]) * difference > 0).slice(0, 2);
  const told = main.reduce((sum, row) => sum + row.parts[0] - row.parts[1], 0);
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
        {docnos[difference >= 0 ? 0 : 1]} scores {fixed(Math.abs(difference))} more
        {main.length > 0 && [
          Math.abs(told) >= Math.abs(difference) / 2 ? ", mainly for " : "; of the features shown, most speaks for it ",
          main.map((row, i) => [i > 0 && " and ", <em>{row.label}</em>, ` (${signed(row.parts[0] - row.parts[1])})`]),
        ]}
        .
      </p>
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
            const value = row.parts[0] - row.parts[1];
            return (
              <tr key={row.label + row.feature} class={row.feature !== undefined && row.feature === feature ? "chosen" : ""}>
                <th scope="row">
                  {row.slot === undefined ? (
                    <span class="soft">{row.label}</span>
                  ) : (
                    <button onClick={() => change({ feature: row.feature === feature ? null : row.feature })}>
                      <span class={`chip b${row.slot}`} />
                      <span class="label">{row.label}</span>
                    </button>
                  )}
                </th>
                <td class="number">{fixed(row.parts[0])}</td>
                <td class="number">{fixed(row.parts[1])}</td>
                <td class="number">
                  {signed(value)}
                  <span class="bar both">
                    <span class={value < 0 ? "against" : "for"} style={{ width: `${(50 * Math.abs(value)) / widest}%` }} />
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
            <p dir="auto" class="document">
              <Marked
                text={page.documents.texts[d]}
                part={page.documents}
                rows={rows.map((row) => ({ ...row, entry: entryOf(page.documents, d, row.feature) }))}
                chosen={rows.some((row) => row.feature === feature) ? feature : null}
              />
            </p>
          </section>
        ))}
      </div>
    </article>
  );
}
