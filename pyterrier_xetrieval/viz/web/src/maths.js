// Scores, explanations and edits, from the vectors and codes of the page. Everything here is the arithmetic of the Python
// package, which the tests compare it with: score = sum of contributions + other features + bias + not explained.

import { dot } from "./arrays.js";
import { reading, supportedBy } from "./labels.js";
import { cached, entryOf, phrasesOf } from "./page.js";

const [UNKNOWN_DETECTION, UNKNOWN_SIMILARITY] = [0.5, 0.2];
const LEAST_SHOWN = 3; // rows, from half of the least confidence on
const NONE = new Map();

// <q, z> of all documents, by the folded vectors: Float64Array.
export function scores(page, q) {
  const { queries, documents, dim } = page;
  return cached(page, `scores ${q}`, () =>
    Float64Array.from(documents.docnos, (_, d) => dot(queries.vectors, q, documents.vectors, d, dim)),
  );
}

// <q, w_j> of all features.
function readings(page, q) {
  return cached(page, `readings ${q}`, () =>
    Float64Array.from(page.ids, (_, j) => dot(page.queries.vectors, q, page.directions, j, page.dim)),
  );
}

// How much of the query's vector each edit adds along its feature: [{feature, delta}].
// A feature that the query has is scaled by the value, one that it has not is added, in units of its largest activation.
export function deltas(page, q, edits) {
  const out = [];
  for (const [feature, value] of edits) {
    const entry = entryOf(page.queries, q, feature);
    const delta = entry < 0 ? value * page.maxima[feature] : (value - 1) * page.queries.activations[entry];
    if (delta) out.push({ feature, delta });
  }
  return out;
}

// What an edit of the query adds to a document's score: delta <w_j, z>.
export const effect = (page, { feature, delta }, d) =>
  delta * dot(page.directions, feature, page.documents.vectors, d, page.dim);

// All documents, best first, after the edits: [{document, score, before, rank, rankBefore}].
export function ranking(page, q, edits) {
  const before = scores(page, q);
  const changes = deltas(page, q, edits);
  const place = cached(page, `places ${q}`, () => places(before));
  const rows = Array.from(before, (score, document) => ({
    document,
    before: score,
    score: changes.reduce((sum, change) => sum + effect(page, change, document), score),
    rankBefore: place[document],
  }));
  rows.sort((a, b) => b.score - a.score || a.rankBefore - b.rankBefore);
  rows.forEach((row, rank) => (row.rank = rank));
  return rows;
}

function places(values) {
  const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  const out = new Uint32Array(order.length);
  order.forEach((document, rank) => (out[document] = rank));
  return out;
}

// The query as it is asked, with its edits: its dot products, and the features that it has, each with its entry in the query's code
// (-1 for an added one) and its activation. As of every changed query, the features are those of the encoder's vector, without those
// that were turned off and with those that were added.
function asked(page, q, edits) {
  const changes = deltas(page, q, edits);
  const { queries, directions, dim } = page;
  const features = new Map();
  for (const [feature, entry] of queryEntries(page, q)) features.set(feature, { entry, activation: queries.activations[entry] });
  for (const { feature, delta } of changes) {
    const { entry, activation } = features.get(feature) ?? { entry: -1, activation: 0 };
    if (activation + delta > 1e-9) features.set(feature, { entry, activation: activation + delta });
    else features.delete(feature);
  }
  const more = (array, i) => changes.reduce((sum, { feature, delta }) => sum + delta * dot(directions, feature, array, i, dim), 0);
  return {
    features,
    with: (array, i) => dot(queries.vectors, q, array, i, dim) + more(array, i),
    along: (feature) => readings(page, q)[feature] + more(directions, feature),
    score: (d) => scores(page, q)[d] + changes.reduce((sum, change) => sum + effect(page, change, d), 0),
  };
}

// Why a document has its score for a query, as Explanation says it. `rows` are the shown features, what matters most first, `weak` the
// others, largest contribution first. With edits: of the changed query.
export function explain(page, q, d, edits = NONE) {
  const key = [...edits].join(" ");
  if (!key) return cached(page, `explain ${q} ${d}`, () => explained(page, q, d, asked(page, q, NONE)));
  if (page.edited?.key !== `${q} ${key}`) page.edited = { key: `${q} ${key}`, query: asked(page, q, edits), found: new Map() };
  const { query, found } = page.edited; // of the last edits alone: a slider makes many
  if (!found.has(d)) found.set(d, explained(page, q, d, query));
  return found.get(d);
}

function explained(page, q, d, query) {
  const { documents } = page;
  const score = query.score(d);
  const shared = [];
  let other = 0;
  for (let e = documents.offsets[d]; e < documents.offsets[d + 1]; e++) {
    const feature = documents.features[e];
    const contribution = documents.coefficients[e] * query.along(feature);
    if (query.features.has(feature)) shared.push(sharedRow(page, q, d, feature, query.features.get(feature), e, contribution));
    else other += contribution;
  }
  shared.sort((a, b) => b.contribution - a.contribution);
  const bias = query.with(page.bias, 0);
  const sum = shared.reduce((total, row) => total + row.contribution, 0);
  const believed = shown(shared, page.floor);
  const weight = (row) => row.contribution * (Number.isNaN(row.confidence) ? 1 : row.confidence);
  const rows = shared.filter(believed).sort((a, b) => weight(b) - weight(a));
  const weak = shared.filter((row) => !believed(row));
  return { query: q, document: d, asked: query, score, rows, weak, sum, other, bias, residual: score - sum - other - bias };
}

// Which rows are shown: is_shown of pyterrier_xetrieval.core.confidence, in JavaScript.
function shown(shared, floor) {
  const sure = new Set(shared.filter((row) => !(row.confidence < floor)));
  if (sure.size < LEAST_SHOWN) {
    const surest = [...shared].sort((a, b) => b.confidence - a.confidence).slice(0, LEAST_SHOWN);
    surest.filter((row) => row.confidence >= floor / 2).forEach((row) => sure.add(row));
  }
  return (row) => sure.has(row);
}

// The same measured against the mean document, where the page has one: every part less that of the mean document, so that they
// add up to what the score has above its score. The bias is one for all documents.
export function aboveMean(page, why) {
  const { mean } = page;
  if (!mean) return why;
  const { asked } = why;
  const baseline = asked.with(mean.vector, 0);
  const part = (feature) => asked.along(feature) * mean.coefficients[feature];
  const less = (row) => ({ ...row, contribution: row.contribution - part(row.feature) });
  const weight = (row) => row.contribution * (Number.isNaN(row.confidence) ? 1 : row.confidence);
  const rows = why.rows.map(less).sort((a, b) => weight(b) - weight(a));
  const weak = why.weak.map(less).sort((a, b) => b.contribution - a.contribution);
  const sum = [...rows, ...weak].reduce((total, row) => total + row.contribution, 0);
  asked.ofMean ??= page.ids.reduce((total, _, j) => (mean.coefficients[j] ? total + part(j) : total), 0);
  const score = why.score - baseline;
  const other = why.sum + why.other - asked.ofMean - sum;
  return { ...why, score, rows, weak, sum, other, bias: 0, residual: score - sum - other, baseline, whole: why.score };
}

function queryEntries(page, q) {
  const { offsets, features } = page.queries;
  return cached(page, `entries ${q}`, () => {
    const out = new Map();
    for (let e = offsets[q]; e < offsets[q + 1]; e++) out.set(features[e], e);
    return out;
  });
}

function sharedRow(page, q, d, feature, { entry: queryEntry, activation }, entry, contribution) {
  const { queries, documents } = page;
  const queryWords = phrasesOf(queries, queryEntry, queries.texts[q]);
  const documentWords = phrasesOf(documents, entry, documents.texts[d]);
  const words = [...queryWords, ...documentWords];
  const meant = likeliestReading(page, q, d, feature);
  return {
    feature,
    label: page.named[feature] ? reading(meant.text, words) : page.labels[feature],
    meant: meant.text,
    contribution,
    queryEntry,
    entry,
    queryWords,
    documentWords,
    confidence: confidence(page, meant, {
      feature,
      contribution,
      activations: [activation, documents.activations[entry]],
      support: page.named[feature] ? supportedBy(meant.text, queryWords, documentWords, page.functionWords) : [0, 0],
    }),
  };
}

// The reading of the feature's label that most likely fits query and document, its cosines with them, and its detection score:
// pyterrier_xetrieval.label_vectors, in JavaScript.
function likeliestReading(page, q, d, feature) {
  const whole = { text: page.labels[feature], near: [UNKNOWN_SIMILARITY, UNKNOWN_SIMILARITY], detection: NaN };
  const { readings, queries, documents, dim, confidence: c } = page;
  if (!readings) return whole;
  const lean = c && c.similarity ? (2 * c.detection) / c.similarity : 0;
  const length = (array, i) => Math.sqrt(dot(array, i, array, i, dim)) || 1;
  const sides = [[queries.vectors, q], [documents.vectors, d]];
  const sizes = cached(page, `sizes ${q} ${d}`, () => sides.map(([array, i]) => length(array, i)));
  let best = { ...whole, likely: -Infinity };
  for (const { text, row, detection } of readings.of[feature]) {
    if ((row + 1) * dim > readings.vectors.length) continue;
    const size = cached(page, `size ${row}`, () => length(readings.vectors, row));
    const near = sides.map(([array, i], side) => dot(array, i, readings.vectors, row, dim) / (sizes[side] * size));
    const likely = near[0] + near[1] + lean * (Number.isNaN(detection) ? UNKNOWN_DETECTION : detection);
    if (likely > best.likely) best = { text, near, detection, likely };
  }
  return best;
}

// The probability that the feature's label fits both texts; NaN where nobody has measured it.
function confidence(page, meant, { feature, contribution, activations, support }) {
  const c = page.confidence;
  if (!c) return NaN;
  const known = (value, otherwise) => (Number.isNaN(value) ? otherwise : value);
  const fixed =
    c.intercept +
    c.clarity * known(page.clarity[feature], 0) +
    c.detection * known(meant.detection, known(page.detection[feature], UNKNOWN_DETECTION)) +
    c.contribution * contribution;
  const fits = (activation, side) => {
    const relative = Math.min(Math.max(known(activation / page.maxima[feature], 0), 1e-9), 1);
    const own = c.activation * Math.log(relative) + c.support * support[side] + c.similarity * meant.near[side];
    return 1 / (1 + Math.exp(-fixed - own));
  };
  return activations.map(fits).reduce((both, one) => both * one);
}

// Why one document scores higher than another: rows that add up to the difference, largest in size first.
export function compare(page, q, left, right, edits = NONE) {
  const sides = [left, right].map((d) => explain(page, q, d, edits));
  const rows = new Map();
  sides.forEach((side, i) => {
    for (const row of [...side.rows, ...side.weak]) {
      const known = rows.get(row.feature) ?? { feature: row.feature, label: row.label, parts: [0, 0], words: [[], []], shown: false };
      if (row.contribution > known.parts[1 - i] && known.parts[1 - i] !== 0) known.label = row.label;
      known.parts[i] = row.contribution;
      known.words[i] = row.documentWords;
      known.shown ||= side.rows.includes(row);
      rows.set(row.feature, known);
    }
  });
  const difference = (row) => row.parts[0] - row.parts[1];
  const features = [...rows.values()].sort((a, b) => Math.abs(difference(b)) - Math.abs(difference(a)));
  const rest = [["other features", "other"], ["bias", "bias"], ["not explained by the dictionary", "residual"]];
  const parts = rest.map(([label, name]) => ({ label, parts: sides.map((side) => side[name]) }));
  return { sides, features, parts, difference: sides[0].score - sides[1].score };
}

// What a document lacks of what the page's first results have on average: rows that add up, most missing first.
export function whyNot(page, q, d, results, edits = NONE) {
  const own = explain(page, q, d, edits);
  const mean = new Map();
  const sure = new Set(own.rows.map((row) => row.feature)); // whose labels fit well enough in one of the explanations
  const most = new Map(); // where each feature contributes most, which says what it is called
  const note = (row) => row.contribution > (most.get(row.feature)?.contribution ?? -Infinity) && most.set(row.feature, row);
  for (const result of results) {
    const { rows, weak } = explain(page, q, result, edits);
    for (const row of [...rows, ...weak]) {
      mean.set(row.feature, (mean.get(row.feature) ?? 0) + row.contribution / results.length);
      note(row);
    }
    rows.forEach((row) => sure.add(row.feature));
  }
  [...own.rows, ...own.weak].forEach(note);
  const here = new Map([...own.rows, ...own.weak].map((row) => [row.feature, row.contribution]));
  const entries = queryEntries(page, q);
  const rows = [...new Set([...mean.keys(), ...here.keys()])].map((feature) => {
    const words = phrasesOf(page.queries, entries.get(feature), page.queries.texts[q]);
    const label = page.named[feature] ? reading(most.get(feature).meant, words) : page.labels[feature];
    const [average, document] = [mean.get(feature) ?? 0, here.get(feature) ?? 0];
    return { feature, label, words, shown: sure.has(feature), average, document, missing: average - document };
  });
  return rows.sort((a, b) => b.missing - a.missing);
}
