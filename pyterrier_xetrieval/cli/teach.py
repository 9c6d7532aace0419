"""``pyterrier-xetrieval teach``: a language model's texts about documents."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import Command
from .llm import language_model
from .params import EXISTING, EXISTING_FILE, MISSING, POSITIVE, NewPath

if TYPE_CHECKING:
    from ..documents import Missing
    from ..llm.endpoints import LanguageModel


@click.command(cls=Command, interrupted="All texts that came back are in OUT; the same command goes on with the rest.")
@click.argument("corpus", type=EXISTING)
@click.argument("out", type=NewPath())
@language_model
@click.option("--prompts", "file", type=EXISTING_FILE, help="JSON or TOML file of prompts.  [default: summary, purpose, qa]")
@click.option("--aspect", "aspects", multiple=True, help="Only this aspect of the prompts; may be repeated.")
@click.option("--max-chars", type=POSITIVE, help="Cut documents after so many characters.  [default: whole]")
@click.option("--price-in", type=click.FloatRange(min=0), help="Price of a million input tokens, to be told the cost.")
@click.option("--price-out", type=click.FloatRange(min=0), help="Price of a million output tokens.")
@click.option("--limit", type=POSITIVE, help="Only the first so many documents.")
@MISSING
def teach(
    corpus: Path,
    out: Path,
    llm: LanguageModel,
    device: str | None,
    file: Path | None,
    aspects: tuple[str, ...],
    max_chars: int | None,
    price_in: float | None,
    price_out: float | None,
    limit: int | None,
    missing: Missing,
) -> None:
    """Let a language model write one text per document and aspect.

    `train` makes reasoning internalizers from these texts: what is a document for, in plain words; what does it answer.
    The model is any OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, a provider), or one in this process.

    \b
    CORPUS  JSON lines, also .gz: {"docno": "d1", "text": "...", "title": "..."}
            ("_id" will do for "docno", and the title may be missing), or a
            BEIR-style folder with corpus.jsonl[.gz]
    OUT     JSON lines, one per document and aspect as they come back:
            {"_id": "d1", "aspect": "summary", "text": "...",
             "model": "qwen3-32b", ...}
    FILE    of --prompts, aspect to template; {text} is the document:
            {"audience": "Who would read this? In one sentence.\\n\\n{text}"}

    \b
    Examples:
      pyterrier-xetrieval teach corpus.jsonl reasoning.jsonl \\
          --model qwen3-32b --base-url http://localhost:8000/v1
      pyterrier-xetrieval teach scifact/ reasoning.jsonl --limit 100 \\
          --model deepseek-chat --base-url https://api.deepseek.com \\
          --api-key-env DEEPSEEK_API_KEY --price-in 0.27 --price-out 1.10
      pyterrier-xetrieval teach corpus.jsonl reasoning.jsonl \\
          --local models/qwen3-0.6b.Q8_0.gguf

    Every text is in OUT as soon as it has come back. After an interruption of any kind the same command asks for the
    texts that are missing. Texts of another model or prompt under the same name are refused. What was wrong with
    unusable answers is in OUT's .failures.jsonl. The exit code is 1 if texts are missing at the end.
    """
    from ..datasets.corpus_file import CorpusFile
    from ..llm import PROMPTS
    from ..training import Teacher

    price = None if price_in is None or price_out is None else (price_in, price_out)
    if price is None and (price_in, price_out) != (None, None):
        raise click.UsageError("--price-in and --price-out go together")
    documents = CorpusFile(corpus, limit, missing=missing)
    if not len(documents):  # reads it all: a bad line is found before anybody is asked
        raise click.UsageError(f"{corpus} holds no documents")
    prompts = _prompts(file) if file else PROMPTS
    teacher = Teacher(llm, prompts=prompts, max_chars=max_chars, price=price)
    report = teacher.write(documents, out, aspects=aspects or None, verbose=True)
    cost = "" if report.cost is None else f", cost {report.cost:.4f}"
    click.echo(
        f"{out}: {report.written} texts written, {report.kept} there before, {report.failed} missing; "
        f"{report.input_tokens:,} tokens in, {report.output_tokens:,} out{cost}; {report.seconds:.1f} s"
    )
    if report.failed:
        click.get_current_context().exit(1)


def _prompts(path: Path) -> dict[str, Any]:
    """Aspect to template, as the file says it; the teacher checks them."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{path} is no {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from None
