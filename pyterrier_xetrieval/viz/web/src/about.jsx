// What this page is, how to read it, and what whoever made it wanted to say.

import { counted } from "./numbers.js";

export function HowToRead({ page }) {
  return (
    <aside class="feature how" aria-label="How to read this">
      <h2>How to read this</h2>
      <p>
        A dense retriever compares two vectors. Here each vector is a sum of a few learned <em>features</em>, and the score of a
        document is the sum of what each feature adds that it <em>shares</em> with the query, and of the grey parts.
      </p>
      <p>
        Each row is one feature: its label, the words that carry it in the query ↔ in the document, its <em>contribution</em> to the
        score, and its <em>confidence</em>, the probability that the label fits both texts. Rows stand in order of the product of
        the two. The small number is the feature's id, by which it can be found.
      </p>
      <p>
        Grey are the parts without a row: <em>weakly shared</em> features, whose labels are less sure; <em>other features</em> of the
        document, which the query lacks; the <em>bias</em>, the same for every document; and what is <em>not explained</em>. A
        word of two features has a line in the colour of the second.
      </p>
      <p>
        <strong>Choose a row</strong> to see its words alone, other texts that have it, and to turn it down or up in the query: the
        ranking follows at once. Tick two results to compare them.
      </p>
      {page.raw.about.other_score && (
        <p class="note">The results were ranked by another score. What is explained, and what this page ranks by, is the score of the vectors.</p>
      )}
    </aside>
  );
}

export function About({ page, change }) {
  const { about, views } = page.raw;
  const { notes = {}, tables = [] } = about;
  const counts = `${counted(page.queries.qids.length, "query").replace("querys", "queries")}, ${counted(page.documents.docnos.length, "document")} of ${page.size.toLocaleString("en")}, ${counted(page.ids.length, "feature")}`;
  return (
    <article class="about">
      <header>
        <h2>About this page</h2>
        <button class="quiet" onClick={() => change({ view: "explanation" })}>
          back to the results
        </button>
      </header>
      <dl>
        <dt>in this page</dt>
        <dd>{counts}; it ranks among these documents</dd>
        <dt>views of a document</dt>
        <dd>{views.join(", ")}</dd>
        {Object.entries(notes).map(([name, text]) => (
          <>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </>
        ))}
      </dl>
      {tables.map(({ title, head, rows }) => (
        <section key={title}>
          <h3>{title}</h3>
          <div class="scroll">
            <table>
              <thead>
                <tr>{head.map((name) => <th scope="col" key={name}>{name}</th>)}</tr>
              </thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row[0]}>{row.map((cell, i) => (i ? <td class="number" key={i}>{cell}</td> : <th scope="row" key={i}>{cell}</th>))}</tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      ))}
      <p class="soft">
        Made with pyterrier_xetrieval. All numbers are computed in this page from vectors that are rounded to half precision; they
        equal those of the Python package to 0.0001. The page uses Preact (MIT licence) and asks for nothing from elsewhere.
      </p>
    </article>
  );
}
