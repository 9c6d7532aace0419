import { render } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { About, HowToRead } from "./about.jsx";
import { Comparison, comparedRows } from "./comparison.jsx";
import { Explanation, slotted } from "./explanation.jsx";
import { Feature } from "./feature.jsx";
import * as maths from "./maths.js";
import { open } from "./page.js";
import { Results } from "./results.jsx";
import { Search } from "./search.jsx";
import { usePageState } from "./state.js";
import { Steering } from "./steering.jsx";

function App({ page }) {
  const { state, change, edits, edit } = usePageState(page);
  const [ticked, setTicked] = useState([]);
  const ranked = useMemo(() => maths.ranking(page, state.query, edits), [page, state.query, edits]);
  const document = state.document ?? ranked[0].document;
  const own = { ...state, document };
  const parts = { page, state: own, change, edits, edit };
  const tick = (d) => {
    const now = ticked.includes(d) ? ticked.filter((other) => other !== d) : [...ticked, d].slice(-2);
    setTicked(now);
    if (now.length === 2) {
      const byScore = ranked.filter((row) => now.includes(row.document));
      change({ document: byScore[0].document, against: byScore[1].document, view: "explanation" });
    }
  };
  useEffect(() => {
    if (state.against === null) setTicked((now) => (now.length === 2 ? [] : now));
  }, [state.against]);
  const comparing = state.against !== null && state.against !== document;
  const rows = comparing
    ? comparedRows(maths.compare(page, state.query, document, state.against, edits).features)
    : slotted(maths.aboveMean(page, maths.explain(page, state.query, document, edits)).rows);
  const slot = rows.find((row) => row.feature === state.feature)?.slot ?? "x";
  return (
    <>
      <header class="top">
        <Query {...parts} />
        <Search {...parts} />
        <button class="quiet" onClick={() => change({ view: state.view === "about" ? "explanation" : "about" })}>
          About
        </button>
      </header>
      <Steering {...parts} />
      <div class={`columns${state.feature === null ? "" : " chosen"}`}>
        <Results key={state.query} {...parts} ranked={ranked} ticked={ticked} tick={tick} />
        <main>
          {state.view === "about" ? <About {...parts} /> : comparing ? <Comparison {...parts} /> : <Explanation {...parts} ranked={ranked} />}
        </main>
        {state.feature === null ? <HowToRead page={page} /> : <Feature {...parts} slot={slot} key={state.feature} />}
      </div>
    </>
  );
}

function Query({ page, state, change }) {
  const { texts } = page.queries;
  if (texts.length === 1) return <h1 dir="auto">{texts[0]}</h1>;
  return (
    <h1>
      <select
        aria-label="Query"
        value={state.query}
        onChange={(event) =>
          change({ query: Number(event.currentTarget.value), document: null, against: null, feature: null, edits: [], view: "explanation" })
        }
      >
        {texts.map((text, q) => (
          <option value={q} key={q}>
            {text}
          </option>
        ))}
      </select>
    </h1>
  );
}

const page = open(JSON.parse(window.document.getElementById("data").textContent));
window.xetrieval = { page, ...maths }; // for the console, and for tests
render(<App page={page} />, window.document.getElementById("app"));
