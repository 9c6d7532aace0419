"""The stage that has a language model answer from a context, and finds the passages that it cites."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pyterrier as pt

from ..stages.base import Stage
from ..stages.context import cited
from .endpoints import Answer, LanguageModel, as_model
from .prompts import fill

PROMPT = (
    "Answer the question from these passages, in a sentence or two. Behind each statement write the number of the passage that "
    "says so, such as [1].\n\n{context}\n\nQuestion: {query}\nAnswer:"
)


class CitingReader(Stage):
    """Answers each query from its context, and says which passages the answer cites.

    Needs ``qid``, ``query``, ``qcontext`` and ``qpassages``, as :class:`~pyterrier_xetrieval.ContextBuilder` makes them; keeps
    all columns and adds ``qanswer`` (text) and ``qcitations``, the list of each
    :class:`~pyterrier_xetrieval.stages.context.CitedPassage` that the answer cites, as ``[2]`` or ``[1, 3]``, in the answer's
    order. Numbers that no passage has are left out. A citation says what the language model wrote, not what it used.

    Args:
        reader: a transformer from ``qid``, ``query`` and ``qcontext`` to ``qanswer``, such as a ``Reader`` of pyterrier_rag; or
            a language model of :mod:`pyterrier_xetrieval.llm`, or any function from prompt to text.
        prompt: what a language model is asked: a text with ``{context}`` and ``{query}``. A transformer has its own.

    Raises:
        ValueError: a prompt without the two places, or for a transformer; a transformer that leaves a query out.

    Warns:
        where a language model gives no answer: ``qanswer`` is None there.

    Example::

        reader = CitingReader(EndpointLLM("smollm2", base_url="http://localhost:8080/v1"))
        answers = (explained >> ContextBuilder(num_results=3) >> reader).search(query)
        for passage in answers.qcitations[0]:
            print(passage, passage.explanation.sentence())
    """

    label = "Reader"

    def __init__(self, reader: pt.Transformer | LanguageModel | Callable[[str], str], *, prompt: str | None = None):
        own = isinstance(reader, pt.Transformer)
        if prompt is not None and (own or not all(place in prompt for place in ("{context}", "{query}"))):
            found = "one for a transformer, which has its own" if own else repr(prompt)
            raise ValueError(f"CitingReader expects a prompt with {{context}} and {{query}} for a language model, found {found}")
        self.reader, self.prompt = reader, prompt

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        self.check(inp, ["qid", "query", "qcontext", "qpassages"])
        answers = self._read(inp) if isinstance(self.reader, pt.Transformer) else self._ask(inp)
        citations = [cited(a, passages) if isinstance(a, str) else [] for a, passages in zip(answers, inp["qpassages"].tolist())]
        columns = {"qanswer": answers, "qcitations": citations}
        return inp.assign(**{name: pd.Series(cells, inp.index, dtype=object) for name, cells in columns.items()})

    def _read(self, inp: pd.DataFrame) -> list[str]:
        """The answers of a transformer, which may keep no other column than ``qid``."""
        if not len(inp):
            return []
        out = self.reader.transform(inp[["qid", "query", "qcontext"]])  # type: ignore[union-attr]  # a transformer
        pt.validate.columns(out, includes=["qid", "qanswer"], context=self)
        answers = dict(zip(out["qid"].tolist(), out["qanswer"].tolist()))
        lacking = [qid for qid in inp["qid"].tolist() if qid not in answers]
        if lacking:
            raise ValueError(f"{self!r} expects an answer to each query from its reader, found none to {lacking[0]!r}")
        return [answers[qid] for qid in inp["qid"].tolist()]

    def _ask(self, inp: pd.DataFrame) -> list[str | None]:
        """The answers of a language model."""
        llm = as_model(self.reader)  # type: ignore[arg-type]  # no transformer
        template = PROMPT if self.prompt is None else self.prompt
        pairs = zip(inp["qcontext"].tolist(), inp["query"].tolist())
        prompts = [fill(template, context=context, query=query) for context, query in pairs]
        batches = [prompts[i : i + llm.batch_size] for i in range(0, len(prompts), llm.batch_size)]
        with ThreadPoolExecutor(llm.workers) as pool:
            answers: Sequence[Answer] = [answer for batch in pool.map(llm.generate, batches) for answer in batch]
        failed = [(qid, answer.problem) for qid, answer in zip(inp["qid"].tolist(), answers) if answer.problem]
        if failed:
            told = f"no answer to {len(failed)} of {len(answers)} queries, the first is {failed[0][0]!r}: {failed[0][1]}"
            warnings.warn(f"{self!r} got {told}", stacklevel=3)
        return [None if answer.problem else answer.text for answer in answers]
