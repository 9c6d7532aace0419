// What a label says of a pair, given the words that carry the feature there: pyterrier_xetrieval.feature_names, in JavaScript.

const SPELLING =
  /\b(?:words?|names?|abbreviations?|acronyms?)\b.* (?:beginning|starting|ending)\b|^abbreviations? |\bletters? [A-Z]\b/i;

const lengthOf = (text) => Array.from(text).length;
const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
const tokens = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+-?/gu) ?? [];

export function readingsOf(label) {
  return label.split(" / ").map((text) => text.trim()).filter(Boolean);
}

export function reading(label, phrases) {
  const said = supported(label, new Set(phrases.flatMap(words)));
  return SPELLING.test(said) ? `spelling: ${said}` : said;
}

// Whether the words of each text say what the label says.
export function supportedBy(label, queryWords, documentWords, functionWords) {
  const said = reading(label, [...queryWords, ...documentWords]);
  if (said.startsWith("spelling: ")) return [0, 0];
  const content = (phrases) => new Set(phrases.flatMap(tokens).filter((token) => !functionWords.has(token)));
  const own = tokens(said).filter((token) => !functionWords.has(token));
  return [queryWords, documentWords].map(content).map((asked) => (own.some((token) => alike(token, asked)) ? 1 : 0));
}

function supported(label, asked) {
  if (label.includes(" / ")) {
    const own = label.split(" / ").filter((text) => tokens(text).some((token) => alike(token, asked)));
    return own.length === 1 ? own[0] : label;
  }
  const colon = label.indexOf(": ");
  const head = colon < 0 ? label : label.slice(0, colon);
  const senses = colon < 0 ? [""] : label.slice(colon + 2).split(", ");
  if (colon < 0 || senses.length === 1) return label;
  const own = new Set(tokens(head));
  const fitting = senses.filter((sense) => tokens(sense).some((token) => !alike(token, own) && alike(token, asked)));
  return fitting.length === 1 ? `${head}: ${fitting[0]}` : head;
}

function alike(token, asked) {
  const all = [...asked];
  if (token.endsWith("-")) return all.some((word) => word.startsWith(token.slice(0, -1)));
  const letters = Array.from(token);
  if (letters.length <= 3) return false;
  const stem = letters.slice(0, Math.max(4, letters.length - 2)).join("");
  return all.some((word) => word.startsWith(stem) || (lengthOf(word) > 3 && token.startsWith(word)));
}
