// What was changed in the query, and the Python that does the same.

import { useState } from "preact/hooks";
import { fixed } from "./numbers.js";
import { entryOf } from "./page.js";

export function Steering({ page, state, change, edits, edit }) {
  const [open, setOpen] = useState(false);
  if (!edits.size) return null;
  const scaled = [...edits].filter(([j]) => entryOf(page.queries, state.query, j) >= 0);
  const added = [...edits].filter(([j]) => entryOf(page.queries, state.query, j) < 0);
  return (
    <section class="steering" aria-live="polite">
      <strong>Changed query</strong>
      {[...edits].map(([j, value]) => (
        <span class="edit" key={j}>
          <button class="link" onClick={() => change({ feature: j })}>
            {page.labels[j]}
          </button>{" "}
          {scaled.some(([own]) => own === j) ? `× ${fixed(value, 2)}` : `${value < 0 ? "−" : "+"} ${fixed(Math.abs(value), 2)}`}
          <button class="quiet" aria-label={`undo the change of ${page.labels[j]}`} onClick={() => edit(j, null)}>
            ×
          </button>
        </span>
      ))}
      <button class="quiet" onClick={() => change({ edits: [] })}>
        undo all
      </button>
      <button class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
        in Python
      </button>
      {open && <pre>{python(page, scaled, added)}</pre>}
      <p class="soft">
        The query's vector is edited as FeatureIntervention does it, in mode {[scaled.length && "“scale”", added.length && "“add”"].filter(Boolean).join(" and ")}; the
        documents' vectors are not touched.
      </p>
    </section>
  );
}

function python(page, scaled, added) {
  const features = (edits) => `{${edits.map(([j, value]) => `${page.ids[j]}: ${value}`).join(", ")}}`;
  const stage = (mode, edits) => `    >> model.intervention("${mode}", features=${features(edits)}, target="query")`;
  const stages = [scaled.length && stage("scale", scaled), added.length && stage("add", added)].filter(Boolean);
  return ["changed = (model.encoder()", ...stages, "    >> index.retriever())"].join("\n");
}
