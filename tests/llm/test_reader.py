"""Answers with citations: by functions, by a real small language model, and by a transformer that keeps no columns."""

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_xetrieval import CitingReader, ContextBuilder
from pyterrier_xetrieval.llm import EndpointLLM
from pyterrier_xetrieval.llm.endpoints import Answer
from tests.helpers.builders import make_model, result_frame
from tests.helpers.llm_server import real_server

FRAME = make_model().with_views(()).explainer()(result_frame())
CONTEXTS = ContextBuilder()(FRAME.assign(query="what is " + FRAME["qid"], text="Text of " + FRAME["docno"]))


def test_a_function_answers_and_its_citations_lead_to_passages():
    prompts = []

    def answer(prompt: str) -> str:
        prompts.append(prompt)
        return f"It is so [{len(prompts)}, 9]."

    out = CitingReader(answer)(CONTEXTS)
    assert list(out.columns) == [*CONTEXTS.columns, "qanswer", "qcitations"]
    assert out["qanswer"].tolist() == ["It is so [1, 9].", "It is so [2, 9].", "It is so [3, 9]."]
    assert [[p.docno for p in own] for own in out["qcitations"]] == [["d0"], ["d1"], ["d2"]]
    assert out["qcitations"][1][0].explanation is FRAME["explanation"][5]
    assert prompts[1].endswith("[4] Text of d3\n\nQuestion: what is q1\nAnswer:") and "[1] Text of d0\n\n[2]" in prompts[1]
    own = CitingReader(lambda prompt: prompt, prompt="{query}?{context}")(CONTEXTS)
    assert own["qanswer"][0] == f"what is q0?{CONTEXTS['qcontext'][0]}" and len(own["qcitations"][0]) == 4


def test_a_failed_answer_is_none_and_told():
    class Moody:
        name, batch_size, workers = "moody", 2, 2

        def generate(self, prompts):
            return [Answer("", problem="busy") if "what is q1" in prompt else Answer("Yes [2].") for prompt in prompts]

    with pytest.warns(UserWarning, match="got no answer to 1 of 3 queries, the first is 'q1': busy"):
        out = CitingReader(Moody())(CONTEXTS)
    assert out["qanswer"].tolist() == ["Yes [2].", None, "Yes [2]."] and [len(c) for c in out["qcitations"]] == [1, 0, 1]


def test_a_transformer_may_drop_all_columns_and_change_the_order():
    def read(inp: pd.DataFrame) -> pd.DataFrame:
        assert list(inp.columns) == ["qid", "query", "qcontext"]
        return pd.DataFrame({"qid": inp["qid"], "qanswer": "See [4] for " + inp["qid"]}).iloc[::-1]

    out = CitingReader(pt.apply.generic(read))(CONTEXTS)
    assert out["qanswer"].tolist() == ["See [4] for q0", "See [4] for q1", "See [4] for q2"]
    assert [p.docno for own in out["qcitations"] for p in own] == ["d3"] * 3
    with pytest.raises(ValueError, match="expects an answer to each query from its reader, found none to 'q2'"):
        CitingReader(pt.apply.generic(lambda inp: read(inp).iloc[1:]))(CONTEXTS)


def test_prompts_that_no_answer_could_come_from_are_refused():
    with pytest.raises(ValueError, match=r"with \{context\} and \{query\} for a language model, found 'Say \{query\}'"):
        CitingReader(str, prompt="Say {query}")
    with pytest.raises(ValueError, match="found one for a transformer, which has its own"):
        CitingReader(pt.apply.generic(lambda inp: inp), prompt="{context}{query}")


def test_no_query_no_answer():
    for reader in (str, pt.apply.generic(lambda inp: inp)):
        out = CitingReader(reader)(CONTEXTS.head(0))
        assert list(out.columns) == [*CONTEXTS.columns, "qanswer", "qcitations"] and not len(out)


def test_a_real_small_model_answers_with_a_citation():
    """135 million parameters do not cite by themselves: a grammar makes the answer end in one of two numbers."""
    grammar = 'root ::= [A-Za-z ]{5,30} " [" [23] "]."'
    url = f"{real_server().listening_address}/v1"
    llm = EndpointLLM("smollm2", base_url=url, max_tokens=40, temperature=0, workers=2, extra={"grammar": grammar})
    out = CitingReader(llm)(CONTEXTS)
    for answer, citations in zip(out["qanswer"], out["qcitations"]):
        number = int(answer[-3])
        assert number in (2, 3) and [(p.number, p.docno) for p in citations] == [(number, f"d{number - 1}")]
