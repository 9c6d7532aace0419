// The data of the page: queries, documents, features and codes. Features are numbered as the page has them, from 0.

import { dot, runs, unpack } from "./arrays.js";
import { readingsOf } from "./labels.js";

const FORMAT = 1;

export function open(raw) {
  if (raw.format !== FORMAT) throw new Error(`this page expects data of format ${FORMAT}, found ${raw.format}`);
  const { features: f, queries: q, documents: d, dim } = raw;
  const ids = unpack(f.ids);
  const page = {
    raw,
    dim,
    views: raw.views,
    floor: raw.min_confidence,
    confidence: raw.confidence,
    functionWords: new Set(raw.function_words),
    bias: unpack(raw.bias),
    mean: raw.mean && { ...raw.mean, vector: unpack(raw.mean.vector), coefficients: unpack(raw.mean.coefficients) },
    ids,
    labels: f.labels.map((label, i) => label || `feature ${ids[i]}`),
    named: f.labels.map(Boolean),
    readings: readings(f),
    maxima: unpack(f.maxima),
    clarity: unpack(f.clarity),
    detection: unpack(f.detection),
    directions: unpack(f.vectors),
    counts: unpack(f.counts),
    histograms: unpack(f.histograms),
    size: f.size,
    queries: { qids: q.qids, texts: q.texts, vectors: unpack(q.vectors), ...codes(q) },
    documents: {
      docnos: d.docnos,
      texts: d.texts,
      characters: d.characters,
      stops: d.stops,
      vectors: unpack(d.vectors),
      coefficients: unpack(d.coefficients),
      ...codes(d),
    },
    rankings: raw.rankings,
    cache: new Map(),
  };
  page.documents.strongest = unpack(d.strongest); // in hundredths of the feature's largest activation
  page.numberOf = new Map(Array.from(page.ids, (id, i) => [id, i]));
  page.documentOf = new Map(d.docnos.map((docno, i) => [docno, i]));
  return page;
}

// The readings of each feature's label with their rows among the vectors and their detection scores; null where labels have no vectors.
function readings({ labels, readings: own }) {
  if (!own) return null;
  const [rows, detections] = [unpack(own.rows), unpack(own.detections)];
  let at = 0;
  const listed = (text) => ({ text, row: rows[at], detection: detections[at++] });
  return { vectors: unpack(own.vectors), of: labels.map((label) => readingsOf(label).map(listed)) };
}

function codes(part) {
  const spans = unpack(part.spans);
  return {
    offsets: unpack(part.offsets),
    features: unpack(part.features),
    activations: unpack(part.activations),
    spans: runs(spans),
    starts: unpack(part.starts),
    lengths: unpack(part.lengths),
  };
}

// Computed once for each key.
export function cached(page, key, make) {
  if (!page.cache.has(key)) page.cache.set(key, make());
  return page.cache.get(key);
}

// Where the words are that carry the code's entry: [{start, stop, phrase}], strongest phrase first.
export function placesOf(part, entry) {
  const out = [];
  for (let i = part.spans[entry]; i < part.spans[entry + 1]; i++) {
    const start = part.starts[i] >> 2;
    out.push({ start, stop: start + part.lengths[i], phrase: part.starts[i] & 3 });
  }
  return out;
}

// The phrases themselves, each once.
export function phrasesOf(part, entry, text) {
  const out = [];
  for (const { start, stop, phrase } of placesOf(part, entry)) {
    if (out[phrase] === undefined) out[phrase] = text.slice(start, stop).split(/\s+/).filter(Boolean).join(" ");
  }
  return out.filter((phrase) => phrase !== undefined);
}

// Entry of a feature in the code of row i, or -1. Codes of documents are in ascending order of features, those of queries not.
export function entryOf(part, i, feature) {
  for (let e = part.offsets[i]; e < part.offsets[i + 1]; e++) if (part.features[e] === feature) return e;
  return -1;
}

// Documents that have a feature, strongest first: [{document, entry, share}], the share being of its largest activation.
export function documentsWith(page, feature) {
  const d = page.documents;
  const table = cached(page, "inverted", () => {
    const counts = new Uint32Array(page.ids.length);
    for (const j of d.features) counts[j]++;
    const starts = runs(counts);
    const at = starts.slice();
    const documents = new Uint32Array(d.features.length);
    const entries = new Uint32Array(d.features.length);
    for (let i = 0; i < d.docnos.length; i++) {
      for (let e = d.offsets[i]; e < d.offsets[i + 1]; e++) {
        const place = at[d.features[e]]++;
        documents[place] = i;
        entries[place] = e;
      }
    }
    return { starts, documents, entries };
  });
  const out = [];
  for (let i = table.starts[feature]; i < table.starts[feature + 1]; i++) {
    const entry = table.entries[i];
    out.push({ document: table.documents[i], entry, share: d.strongest[entry] / 100 });
  }
  return out.sort((a, b) => b.share - a.share);
}

// The features whose directions point the same way most: [{feature, cosine}].
export function nearest(page, feature, most = 8) {
  const { directions: w, dim } = page;
  const lengths = cached(page, "lengths", () => Float64Array.from(page.ids, (_, j) => Math.sqrt(dot(w, j, w, j, dim))));
  const out = [];
  for (let j = 0; j < page.ids.length; j++) {
    if (j !== feature) out.push({ feature: j, cosine: dot(w, feature, w, j, dim) / (lengths[feature] * lengths[j] || 1) });
  }
  return out.sort((a, b) => b.cosine - a.cosine).slice(0, most);
}
