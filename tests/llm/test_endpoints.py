"""OpenAI-compatible endpoints: keys, and answers that are none."""

import json

import pytest

from pyterrier_xetrieval.llm.endpoints import Answer, EndpointLLM
from tests.helpers.llm_server import Proxy, completion


def test_no_key_goes_to_a_foreign_server_unless_named(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with Proxy(["hello"]) as proxy:
        assert proxy.llm(extra={"top_k": 3}).generate(["hi"])[0] == Answer("hello", 10, 20, "stop")
    _, headers, body = proxy.seen[0]
    assert headers["Authorization"] == "Bearer none"
    assert body["top_k"] == 3 and body["max_tokens"] == 5 and body["messages"] == [{"role": "user", "content": "hi"}]
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="environment variable OPENAI_API_KEY"):
        EndpointLLM("gpt").generate(["hi"])


def test_a_filtered_answer_is_no_text():
    filtered = completion("half a")
    filtered["choices"][0]["finish_reason"] = "content_filter"
    with Proxy([json.dumps(filtered).encode(), (400,)]) as proxy:
        assert proxy.llm().generate(["hi"])[0].problem == "stopped by the content filter"
        refused = proxy.llm().generate(["hi"])[0]
    assert refused.final and refused.problem.startswith("HTTP 400") and len(proxy.seen) == 2
