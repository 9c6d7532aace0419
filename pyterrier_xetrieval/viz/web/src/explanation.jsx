// Why one document has its score: a sentence, the score as a bar, the features that both texts have, and the texts.

import { aboveMean, explain, whyNot } from "./maths.js";
import { counted, fixed, percent, signed } from "./numbers.js";
import { entryOf } from "./page.js";
import { Marked, Words } from "./text.jsx";

export const SLOTS = 10; // colours
const FIRST = 10; // results that "why not higher" compares with

// The first rows have a colour each; "x" is that of all others, and of a feature that has no row.
export const slotted = (rows) => rows.map((row, i) => ({ ...row, slot: i < SLOTS ? i : "x" }));

export function Explanation({ page, state, change, edits, ranked }) {
  const { query: q, document: d, feature } = state;
  const why = aboveMean(page, explain(page, q, d, edits));
  const rows = slotted(why.rows);
  const { rank, rankBefore, score } = ranked.find((row) => row.document === d);
  const unedited = edits.size > 0 ? aboveMean(page, explain(page, q, d)) : null;
  const before = new Map(unedited && [...unedited.rows, ...unedited.weak].map((row) => [row.feature, row.contribution]));
  const widest = Math.max(...rows.map((row) => Math.abs(row.contribution)), 1e-9);
  const choose = (j) => change({ feature: j === feature ? null : j });
  return (
    <article class="explanation">
      <header>
        <h2>
          <span class="place">{rank + 1}</span> {page.documents.docnos[d]}
        </h2>
        <p class="score">
          score <strong>{fixed(score)}</strong>
          {unedited && <span class="soft"> was {fixed(unedited.whole ?? unedited.score)}, place {rankBefore + 1}</span>}
        </p>
      </header>
      <p class="sentence">
        <Sentence floor={page.floor} why={why} against={against(page)} />
      </p>
      {unedited && (
        <p class="soft">This is the changed query: its features are its own, without those turned off and with those added.</p>
      )}
      {why.whole !== undefined && (
        <p class="soft">
          Shown is what the score has above the {fixed(why.baseline)} of {against(page)}: {signed(why.score)}.
        </p>
      )}
      <Bar why={why} rows={rows} />
      {rows.length > 0 ? (
        <table class="rows">
          <caption class="hidden">Features that the query and the document share</caption>
          <thead>
            <tr>
              <th scope="col">shared feature</th>
              <th scope="col" class="number">contribution</th>
              <th scope="col" class="number" title="the probability that the label fits both texts">confidence</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <Row
                key={row.feature}
                {...{ page, row, widest, chosen: row.feature === feature, choose }}
                was={unedited && (before.get(row.feature) ?? 0)}
              />
            ))}
          </tbody>
        </table>
      ) : (
        <p class="soft">No shared feature has a label that is sure enough to fit both texts.</p>
      )}
      <Rest why={why} choose={choose} />
      {rank > 0 && <WhyNot {...{ page, q, d, rank, ranked, choose, edits }} />}
      <Texts {...{ page, q, d, rows, chosen: feature }} />
    </article>
  );
}

const against = (page) => (page.mean?.documents ? "the mean document" : "a document without features");

const weakPart = (why) => why.weak.reduce((sum, row) => sum + row.contribution, 0);

function Sentence({ why, against, floor }) {
  const main = why.rows.slice(0, 2).filter((row) => row.contribution > 0);
  const sure = main.some((row) => !(row.confidence < floor));
  const most = why.sum - weakPart(why) >= Math.max(weakPart(why), why.score - why.sum);
  const words = (row) => {
    const both = [row.queryWords[0], row.documentWords[0]].filter(Boolean);
    if (both.length === 1) return ` (“${both[0]}” in the ${row.queryWords.length ? "query" : "document"})`;
    const own = new Set(both.map((word) => word.toLowerCase())).size === 1 ? both.slice(0, 1) : both;
    return own.length ? ` (${own.map((word) => `“${word}”`).join(" ↔ ")})` : "";
  };
  if (!why.rows.length && !why.weak.length) return "Retrieved for nothing that the dictionary finds in both texts.";
  const otherwise = why.rows.length ? "for no feature that is shown" : "for features whose labels may not fit these texts";
  return (
    <>
      Retrieved{" "}
      {main.length
        ? [
            !sure ? "perhaps for " : most ? "mainly for " : "partly for ",
            main.map((row, i) => (
              <>
                {i > 0 && " and "}
                <em>{row.label}</em>
                {words(row)}
              </>
            )),
          ]
        : otherwise}
      . {shares(why, against)}
    </>
  );
}

const MANY = 2; // times the score: shares of a score that is small beside its parts say nothing

// "The 3 features shown carry 62 % of the score, 21 weakly shared ones 23 %."
function shares(why, against) {
  const weak = weakPart(why);
  const carry = why.sum - weak;
  const rest = why.score - why.sum;
  const asShares = why.score > 0 && Math.max(...[carry, weak, rest].map(Math.abs)) <= MANY * why.score;
  const part = (value) => (asShares ? percent(value / why.score) : fixed(value));
  const ofScore =
    why.whole !== undefined
      ? `of what the score (${fixed(why.whole)}) ${why.score > 0 ? "has above" : "lacks of"} that of ${against} (${fixed(why.baseline)})`
      : asShares
        ? "of the score"
        : `of the score, which is ${fixed(why.score)}`;
  const n = why.rows.length;
  const m = why.weak.length;
  let told = n ? `The ${n === 1 ? "feature shown carries" : `${n} features shown carry`} ${part(carry)} ${ofScore}` : "";
  if (n && m) told += `, ${m} weakly shared ${m === 1 ? "one" : "ones"} ${part(weak)}`;
  else if (m) told = `The ${m === 1 ? "weakly shared feature carries" : `${m} weakly shared features carry`} ${part(weak)} ${ofScore}`;
  // or the parts above would seem to be more than there is
  if (why.sum > 1.005 * why.score && why.score > 0) told += `; the rest of the document counts against it, ${part(rest)}`;
  else if (rest > Math.max(carry, weak)) told += `; ${part(rest)} ${asShares ? "is" : "are"} in no shared feature`;
  return `${told}.`;
}

// One stacked bar: its whole length is the sum of the parts' sizes, and hatched parts count against the score.
function Bar({ why, rows }) {
  const weak = weakPart(why);
  const parts = [
    ...rows.map((row) => ({ name: row.label, value: row.contribution, kind: `b${row.slot}` })),
    { name: counted(why.weak.length, "weakly shared feature"), value: weak, kind: "weak" },
    { name: "other features of the document", value: why.other, kind: "other" },
    ...(why.whole === undefined ? [{ name: "bias", value: why.bias, kind: "bias" }] : []),
    { name: "not explained", value: why.residual, kind: "unexplained" },
  ];
  const total = parts.reduce((sum, part) => sum + Math.abs(part.value), 0) || 1;
  const said = parts.map((part) => `${part.name} ${signed(part.value)}`).join(", ");
  const shown = rows.reduce((sum, row) => sum + row.contribution, 0);
  return (
    <>
      <div class="stack" role="img" aria-label={`The ${why.whole === undefined ? "score" : "difference of the scores"} is the sum of: ${said}`}>
        {parts.map((part) => (
          <span
            class={`${part.kind}${part.value < 0 ? " minus" : ""}`}
            style={{ width: `${(100 * Math.abs(part.value)) / total}%` }}
            title={`${part.name} ${signed(part.value)}`}
          />
        ))}
      </div>
      <p class="key soft">
        <span>
          {rows.slice(0, 4).map((row) => (
            <i class={`chip b${row.slot}`} />
          ))}
          shown below {fixed(shown)}
        </span>
        {parts.slice(rows.length).map((part) => (
          <span>
            <i class={`chip ${part.kind}${part.value < 0 ? " minus" : ""}`} />
            {part.name} {fixed(part.value)}
          </span>
        ))}
      </p>
    </>
  );
}

function Row({ page, row, widest, chosen, choose, was }) {
  return (
    <tr class={chosen ? "chosen" : ""}>
      <th scope="row">
        <button aria-pressed={chosen} onClick={() => choose(row.feature)} title="show this feature alone, and its page">
          <span class={`chip b${row.slot}`} />
          <span class="label">{row.label}</span> <span class="id">{page.ids[row.feature]}</span>
          <Words query={row.queryWords} document={row.documentWords} />
        </button>
      </th>
      <td class="number">
        {was !== null && Math.abs(row.contribution - was) >= 0.0005 && <span class="soft">was {fixed(was)} </span>}
        {fixed(row.contribution)}
        <span class="bar">
          <span
            class={`b${row.slot}${row.contribution < 0 ? " minus" : ""}`}
            style={{ width: `${(100 * Math.abs(row.contribution)) / widest}%` }}
          />
        </span>
      </td>
      <td class="number">{Number.isNaN(row.confidence) ? "" : percent(row.confidence)}</td>
    </tr>
  );
}

function Rest({ why, choose }) {
  const weak = why.weak.reduce((sum, row) => sum + row.contribution, 0);
  const rest = [
    ["other features of the document", why.other],
    ...(why.whole === undefined ? [["bias", why.bias]] : []),
    ["not explained by the dictionary", why.residual],
  ];
  return (
    <details class="rest">
      <summary>
        {counted(why.weak.length, "weakly shared feature")} <span class="number">{signed(weak)}</span>, and the rest{" "}
        <span class="number">{signed(why.other + why.bias + why.residual)}</span>
      </summary>
      <p class="soft">The labels of weakly shared features are not sure enough to fit both texts. All parts add up to the {why.whole === undefined ? "score" : "difference of the scores"}.</p>
      <ul>
        {why.weak.map((row) => (
          <li key={row.feature}>
            <button class="link" onClick={() => choose(row.feature)}>
              {row.label}
            </button>{" "}
            <span class="number">{signed(row.contribution)}</span>
          </li>
        ))}
        {rest.map(([name, value]) => (
          <li key={name}>
            {name} <span class="number">{signed(value)}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}

function WhyNot({ page, q, d, rank, ranked, choose, edits }) {
  const first = ranked.slice(0, FIRST);
  const own = ranked[rank].score;
  const less = first.reduce((sum, row) => sum + row.score / first.length, 0) - own;
  const sign = less >= 0 ? 1 : -1;
  const told = whyNot(page, q, d, first.map((row) => row.document), edits)
    .filter((row) => sign * row.missing >= 0.0005)
    .sort((a, b) => sign * (b.missing - a.missing))
    .slice(0, 5);
  const rest = told.reduce((sum, row) => sum + row.missing, 0) - less;
  return (
    <section class="whynot">
      <h3>Why not higher?</h3>
      <p>
        It has {rank >= FIRST && `${fixed(first.at(-1).score - own)} less than place ${first.length}, and `}
        {fixed(Math.abs(less))} {less >= 0 ? "less" : "more"} than the first {first.length} have on average. It{" "}
        {less >= 0 ? "lacks" : "has more of"}:
      </p>
      <ul>
        {told.map((row) => (
          <li key={row.feature}>
            <button class="link" onClick={() => choose(row.feature)}>
              {row.label}
            </button>
            {row.words.length > 0 && <span class="words"> “{row.words[0]}”</span>}
            {!row.shown && <span class="soft"> label uncertain</span>} <span class="number">{signed(-row.missing)}</span>
          </li>
        ))}
        <li>
          <span class="soft">all else comes to</span> <span class="number rest-of">{signed(rest)}</span>
        </li>
      </ul>
    </section>
  );
}

export function Texts({ page, q, d, rows, chosen }) {
  const { queries, documents } = page;
  // a chosen feature that has no row of its own is marked as well
  const extra = chosen === null || rows.some((row) => row.feature === chosen) ? [] : [{ feature: chosen, label: page.labels[chosen], slot: "x" }];
  const own = (part, i) => [...rows, ...extra].map((row) => ({ ...row, entry: entryOf(part, i, row.feature) }));
  return (
    <section class="texts">
      <h3>Query</h3>
      <p dir="auto">
        <Marked text={queries.texts[q]} part={queries} rows={own(queries, q)} chosen={chosen} />
      </p>
      <h3>Document</h3>
      <DocumentText page={page} d={d} rows={own(documents, d)} chosen={chosen} />
    </section>
  );
}

// A document with its marked words, and after them in grey what the encoder did not read.
export function DocumentText({ page, d, rows, chosen }) {
  const { documents } = page;
  const characters = Array.from(documents.texts[d]);
  const stop = documents.stops[d] ?? characters.length;
  const unread = characters.slice(stop).join("");
  const left = documents.characters[d] - characters.length;
  return (
    <>
      {documents.stops[d] !== null && (
        <p class="soft">The encoder has read the first {counted(documents.stops[d], "character")} only.</p>
      )}
      <p dir="auto" class="document">
        <Marked text={characters.slice(0, stop).join("")} part={documents} rows={rows} chosen={chosen} />
        {unread && <span class="unread"> [not read:] {unread}</span>}
        {left > 0 && <span class="soft"> … {counted(left, "more character")}, not in this page</span>}
      </p>
    </>
  );
}
