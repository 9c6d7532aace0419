// Texts with the words marked that carry features.

import { placesOf } from "./page.js";

// Cuts a text where marks begin or end: [{text, owners}]; owners are those of the marks that cover the piece, strongest first.
export function pieces(text, marks) {
  const cuts = new Set([0, text.length]);
  const own = marks.filter(({ start, stop }) => start < stop && start < text.length);
  for (const { start, stop } of own) {
    cuts.add(start);
    cuts.add(Math.min(stop, text.length));
  }
  const places = [...cuts].sort((a, b) => a - b);
  return places.slice(0, -1).map((start, i) => ({
    text: text.slice(start, places[i + 1]),
    owners: own.filter((mark) => mark.start <= start && mark.stop >= places[i + 1]).map((mark) => mark.owner),
  }));
}

// rows: [{feature, label, slot, entry}]; only the chosen feature is marked, if one is. Words of two features have the colour of
// the first one and a line in that of the second.
export function Marked({ text, part, rows, chosen }) {
  const shown = chosen === null ? rows : rows.filter((row) => row.feature === chosen);
  const marks = shown.flatMap((row) => (row.entry < 0 ? [] : placesOf(part, row.entry).map((place) => ({ ...place, owner: row }))));
  return pieces(text, marks).map(({ text, owners }) =>
    owners.length ? (
      <mark class={owners[1] ? `c${owners[0].slot} u${owners[1].slot}` : `c${owners[0].slot}`} title={[...new Set(owners.map((owner) => owner.label))].join("; ")}>
        {text}
      </mark>
    ) : (
      text
    ),
  );
}

// A few words around the strongest place of a feature in a document.
export function Snippet({ page, document, entry, slot, around = 90 }) {
  const { documents } = page;
  const text = documents.texts[document];
  const places = placesOf(documents, entry);
  const first = places[0] ?? { start: 0, stop: 0 };
  let start = Math.max(0, first.start - around);
  let stop = Math.min(text.length, Math.max(first.stop + around, 2 * around));
  while (start > 0 && /\S/.test(text[start - 1])) start--;
  while (stop < text.length && /\S/.test(text[stop]) && stop - start < 4 * around) stop++;
  const marks = places.map((place) => ({ start: place.start - start, stop: place.stop - start, owner: slot }));
  const visible = marks.filter((mark) => mark.start >= 0);
  return (
    <>
      {start > 0 && "… "}
      {pieces(text.slice(start, stop), visible).map(({ text, owners }) =>
        owners.length ? <mark class={`c${slot}`}>{text}</mark> : text,
      )}
      {stop < text.length && " …"}
    </>
  );
}

export const Words = ({ query, document }) =>
  query.length + document.length === 0 ? null : (
    <span class="words">
      {quoted(query)} <span aria-label="in the document">↔</span> {quoted(document)}
    </span>
  );

const quoted = (words) => (words.length ? words.map((word) => `“${word}”`).join(", ") : "…");
