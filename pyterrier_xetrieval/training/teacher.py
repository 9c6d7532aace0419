"""The teacher: a language model writes one text per document and aspect (Cai et al. 2026, App. A), resumably."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import pandas as pd
import pyterrier as pt

from ..llm.endpoints import FunctionLLM, LanguageModel, Options
from ..llm.prompts import PROMPTS, check_answer, check_prompts, digest, fill
from ..llm.teacher_run import Report, Run, Task
from ..store.jsonl import appending, json_lines


@dataclass(frozen=True, repr=False)
class Teacher(Options):
    """Asks a language model for one text per document and aspect.

    Args:
        llm: a :class:`~pyterrier_xetrieval.llm.endpoints.LanguageModel`, or a function from prompt to text.
        prompts: aspect to template with ``{text}`` in it; default the paper's three.
        attempts: how often an unusable answer is asked for in one run. (Failed requests are the model's business.)
        give_up: texts that may fail in a row before the run ends.
        max_chars: length at which documents are cut; None sends them whole.
        price: (input, output) per million tokens, in any currency.
        check: ``(aspect, text)`` to what is wrong with the text, or None.

    Raises:
        ValueError: prompts or a number that cannot be used.

    Example::

        llm = EndpointLLM("qwen3-32b", base_url="http://localhost:8000/v1", workers=32)
        Teacher(llm).write(dataset.get_corpus_iter(), "reasoning.jsonl", verbose=True)
        # Report(written=180000, kept=0, failed=0, …)
    """

    llm: LanguageModel
    _: KW_ONLY
    prompts: Mapping[str, str] = field(default_factory=lambda: PROMPTS, hash=False)
    attempts: int = 3
    give_up: int = 25
    max_chars: int | None = None
    price: tuple[float, float] | None = None
    check: Callable[[str, str], str | None] = check_answer

    def __post_init__(self):
        if not hasattr(self.llm, "generate"):
            object.__setattr__(self, "llm", FunctionLLM(self.llm))
        object.__setattr__(self, "prompts", check_prompts(self.prompts))
        for name in ("attempts", "give_up", "max_chars"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value > 0 or name == "max_chars" and value is None):
                raise ValueError(f"Teacher expects a positive number as {name}, found {value!r}")
        if self.price is not None:
            price = tuple(map(float, self.price))
            if len(price) != 2 or not all(math.isfinite(p) and p >= 0 for p in price):
                raise ValueError(f"Teacher expects price as (input, output) per million tokens, found {self.price!r}")
            object.__setattr__(self, "price", price)

    def __repr__(self) -> str:
        own = "" if self.prompts == PROMPTS else f", prompts=<{', '.join(self.prompts)}>"
        return f"Teacher({self.llm!r}{own})"

    @property
    def aspects(self) -> tuple[str, ...]:
        return tuple(self.prompts)

    def check_aspects(self, aspects, *, stage: str = "Teacher") -> tuple[str, ...]:
        """The given aspects as a tuple, or all if None; ValueError for one without a prompt."""
        given = aspects if isinstance(aspects, str) else self.aspects if aspects is None else tuple(aspects)
        if isinstance(given, str) or set(given) - set(self.aspects) or len(set(given)) < len(given):
            raise ValueError(f"{stage} expects aspects among {list(self.aspects)}, each once, found {given!r}")
        return given

    def text_of(self, document: Mapping) -> str:
        """What is sent of a {text, title?} document; ValueError if its text is no string."""
        title, text = document.get("title"), document.get("text")
        if not isinstance(text, str):
            raise ValueError(f"Teacher expects documents with a text, found {text!r} in {document.get('docno')!r}")
        return f"{title if isinstance(title, str) else ''} {text}".strip()[: self.max_chars]

    def key(self, document: Mapping) -> str:
        """Digest of what is sent of a document: by it, texts are found again in :meth:`read`."""
        return digest(self.text_of(document), 32)

    def write(self, documents, path, *, aspects=None, verbose: bool = False) -> Report:
        """Appends one JSON line {_id, aspect, text, model, …} per document and aspect to the file at ``path``.

        Every text is on disk as soon as it has come back. After an interruption of any kind the same call goes on where
        the file ends (half a line there is dropped) and asks again for what failed. What was wrong with unusable
        answers is in ``<name>.failures.jsonl`` beside it.

        Args:
            documents: iterable of {docno (or _id), text, title?} or a data frame with these columns.
            path: the file, created if need be.
            aspects: which of the prompts to use; None for all.
            verbose: show a progress bar.

        Returns:
            a :class:`Report`; a warning says so if texts are missing at the end.

        Raises:
            ValueError: the file holds texts by another model, from other prompts or of other documents under the same
                docno; a document without docno or text.
            RuntimeError: another run is writing to the file.
            TeacherError: the model refused, or too many texts failed in a row.
        """
        aspects, path, start = self.check_aspects(aspects), Path(path), time.monotonic()
        total = len(documents) * len(aspects) if hasattr(documents, "__len__") else None
        failures = path.with_suffix(".failures.jsonl")
        with appending(path) as out, pt.tqdm(total=total, disable=not verbose, unit="text") as bar:
            run = Run(self, out, failures, bar)
            try:
                run.ask_all(self._tasks(documents, aspects, path, run))
            finally:
                run.report.seconds = time.monotonic() - start
        if run.report.failed:
            message = f"{run.report.failed} text(s) are missing, see {failures}; the same call asks for them again"
            warnings.warn(message, stacklevel=2)
        return run.report

    def read(self, path) -> dict[tuple[str, str], str]:
        """The texts of a file by ``(key of the document, aspect)``; errors as in :meth:`write`, {} if there is no file."""
        return {(row["doc"], row["aspect"]): row["text"] for row in self._rows(path)}

    def _rows(self, path) -> Iterator[dict]:
        digests = {aspect: digest(template, 12) for aspect, template in self.prompts.items()}
        for number, row in json_lines(path):
            if not {"_id", "aspect", "text", "model", "prompt", "doc"} <= row.keys():
                raise ValueError(f"{path} was not written by a Teacher: line {number} lacks what tells which prompt it answers")
            if row["aspect"] not in digests:
                continue
            for what, mine in (("model", self.llm.name), ("prompt", digests[row["aspect"]])):
                if row[what] != mine:
                    raise ValueError(
                        f"{path} holds {row['aspect']!r} texts of {what} {row[what]!r} (line {number}), this teacher's is {mine!r}; "
                        "write to another file, or move that one away"
                    )
            yield row

    def _tasks(self, documents, aspects, path, run) -> Iterator[Task]:
        known = {(row["_id"], row["aspect"]): row["doc"] for row in self._rows(path)}
        seen: dict[str, str] = {}
        for document in documents.to_dict("records") if isinstance(documents, pd.DataFrame) else documents:
            docno = document.get("docno", document.get("_id"))
            if docno is None:
                raise ValueError(f"Teacher expects documents with docno and text, found one with {sorted(document)}")
            docno, text = str(docno), self.text_of(document)
            doc = digest(text, 32)
            repeated = seen.get(docno)
            for aspect in aspects:
                before = repeated or known.get((docno, aspect), doc)
                if before != doc:
                    raise ValueError(
                        f"document {docno!r} is not the one that {path} has texts about: other text, title or max_chars"
                    )
                task = Task(docno, aspect, doc, fill(self.prompts[aspect], text=text))
                if repeated or (docno, aspect) in known:
                    run.skip(task, repeated)
                elif text:
                    yield task
                else:
                    run.fail(task, "empty document")
            seen[docno] = doc
