"""A reader of pyterrier_rag answers from our contexts, and its citations lead back to words and features.

Not a pytest file: pyterrier_rag needs an environment of its own, which ``make test-rag`` makes. The language model is the
small real one of the other tests, behind llama.cpp's server. It does not cite by itself: a grammar makes its answers end in
``[1]`` or ``[2]``.
"""

import pandas as pd
from pyterrier_rag.backend import OpenAIBackend
from pyterrier_rag.prompt import Concatenator, PromptTransformer
from pyterrier_rag.readers import Reader

from pyterrier_xetrieval import CitingReader, ContextBuilder, Xetrieval
from tests.helpers.llm_server import real_server

TEXTS = {
    "sort": "Sort the list in ascending order; a key function may be given.",
    "jam": "Boil fruit with sugar until it sets, then fill it into jars.",
    "copy": "Return a shallow copy of the list.",
}
QUERIES = {"1": "how do I sort a list?", "2": "how is jam made?"}
GRAMMAR = 'root ::= [A-Za-z ]{5,30} " [" [12] "]."'

model = Xetrieval.default()
encoder = model.encoder()
explained = encoder.query_encoder() >> encoder.doc_encoder() >> model.scorer() >> model.explainer() >> model.evidence()
rows = [{"qid": qid, "query": q, "docno": docno, "text": text} for qid, q in QUERIES.items() for docno, text in TEXTS.items()]
results = explained(pd.DataFrame(rows))

backend = OpenAIBackend(
    "smollm2", api_key="none", base_url=f"{real_server().listening_address}/v1", timeout=120.0,
    generation_args={"max_tokens": 40, "temperature": 0, "extra_body": {"grammar": GRAMMAR}},
)  # fmt: skip
prompt = PromptTransformer("{{ qcontext }}\nAnswer with one of [1] and [2] at the end: {{ query }}", "smollm2")
reader = Reader(backend, prompt=prompt)

theirs = reader(Concatenator()(results))
assert "qpassages" not in theirs.columns and set(theirs["qid"]) == set(QUERIES)

answers = (ContextBuilder(num_results=2) >> CitingReader(reader))(results)
assert answers["qid"].tolist() == list(QUERIES) and answers["query"].tolist() == list(QUERIES.values())
for row, best in zip(answers.itertuples(), ("sort", "jam")):
    assert row.qcontext.startswith(f"[1] {TEXTS[best]}\nFound by: “") and row.qpassages[0].docno == best
    assert not row.qanswer.startswith("ERROR"), row.qanswer
    (passage,) = row.qcitations
    assert f"[{passage.number}]" in row.qanswer and passage is row.qpassages[passage.number - 1]
    assert all(word in TEXTS[passage.docno] for word in passage.words)
    assert abs(sum(part for _, part in passage.explanation.lines()) - passage.explanation.score) < 1e-4
    print(f"{row.query} {row.qanswer} -> {passage}: {passage.explanation.sentence()}")
