// What the page shows, and the same as the fragment of its address: #q=…&d=…&f=…&vs=…&s=…

import { useCallback, useEffect, useMemo, useState } from "preact/hooks";

const EMPTY = { query: 0, document: null, feature: null, against: null, edits: [], view: "explanation" };

// Feature ids and not their numbers in the page, qids and docnos: a link means the same in another page of the same model.
export function read(page, fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const query = Math.max(0, page.queries.qids.indexOf(given.get("q") ?? page.queries.qids[0]));
  const documentOf = (name) => page.documentOf.get(given.get(name)) ?? null;
  const featureOf = (id) => page.numberOf.get(Number(id)) ?? null;
  const edits = (given.get("s") ?? "").split(",").flatMap((edit) => {
    const [id, value] = edit.split(":");
    const feature = featureOf(id);
    return feature === null || !value || !Number.isFinite(Number(value)) ? [] : [[feature, Number(value)]];
  });
  return {
    query,
    document: documentOf("d"),
    feature: given.has("f") ? featureOf(given.get("f")) : null,
    against: documentOf("vs"),
    edits,
    view: given.get("view") === "about" ? "about" : "explanation",
  };
}

export function written(page, state) {
  const out = new URLSearchParams();
  if (page.queries.qids.length > 1) out.set("q", page.queries.qids[state.query]);
  if (state.document !== null) out.set("d", page.documents.docnos[state.document]);
  if (state.feature !== null) out.set("f", page.ids[state.feature]);
  if (state.against !== null) out.set("vs", page.documents.docnos[state.against]);
  if (state.edits.length) out.set("s", state.edits.map(([feature, value]) => `${page.ids[feature]}:${value}`).join(","));
  if (state.view === "about") out.set("view", "about");
  return `#${out}`;
}

export function usePageState(page) {
  const [state, setState] = useState(() => ({ ...EMPTY, ...read(page, location.hash) }));
  useEffect(() => {
    const back = () => setState({ ...EMPTY, ...read(page, location.hash) });
    addEventListener("hashchange", back);
    return () => removeEventListener("hashchange", back);
  }, [page]);
  // `quiet` changes, as those of a slider, are no steps to go back to
  const change = useCallback(
    (part, quiet = false) =>
      setState((old) => {
        const state = { ...old, ...part };
        history[quiet ? "replaceState" : "pushState"](null, "", written(page, state));
        return state;
      }),
    [page],
  );
  const edits = useMemo(() => new Map(state.edits), [state.edits]);
  const edit = useCallback(
    (feature, value) =>
      setState((old) => {
        const edits = new Map(old.edits);
        if (value === null) edits.delete(feature);
        else edits.set(feature, value);
        const state = { ...old, edits: [...edits] };
        history.replaceState(null, "", written(page, state));
        return state;
      }),
    [page],
  );
  return { state, change, edits, edit };
}
