"""Prompts: the paper's, and which templates can be used."""

import pytest

from pyterrier_xetrieval.llm.prompts import PROMPTS, check_answer, check_prompts, fill


def test_prompts_keep_braces_and_ask_in_laymans_terms():
    assert tuple(PROMPTS) == ("summary", "purpose", "qa") and check_prompts(PROMPTS) == PROMPTS
    assert all("layman's terms" in prompt for prompt in PROMPTS.values()) and "at most 20" in PROMPTS["qa"]
    assert fill("{text} {x}", text="{y} {text}") == "{y} {text} {x}"
    assert check_answer("qa", "no pairs") and not check_answer("qa", "Q: Why? A: So.") and not check_answer("summary", "no pairs")


@pytest.mark.parametrize(
    "prompts", [{}, {"a b": "{text}"}, {"original": "{text}"}, {"a": "no placeholder"}, {"a": "{text} {text}"}, "x", {"a": 1}]
)
def test_prompts_that_cannot_be_used_are_named(prompts):
    with pytest.raises(ValueError, match="Teacher expects"):
        check_prompts(prompts)
