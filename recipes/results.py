"""The figures of a model, the bundled one unless told otherwise: measured into JSON files, and these made into a page.

``python -m recipes.results measure --out docs/results`` and
``python -m recipes.results render --results docs/results --out docs``; see ``--help``.
"""

from __future__ import annotations

from pathlib import Path

import click

from pyterrier_xetrieval import Xetrieval
from pyterrier_xetrieval.evaluation import QUESTIONS
from pyterrier_xetrieval.llm import EndpointLLM, TransformersLLM
from recipes.command import FILE, FOLDER, GROUP, NEW_FOLDER, Command
from recipes.judged_labels import Source
from recipes.measure_missing import JUDGED, Run
from recipes.measured_collections import on_sources
from recipes.result_files import weights_of

MODULE = "recipes.results"
JUDGE_TOKENS = 32  # of a hypothesis of eight words and its clarity; verdicts are shorter


@click.group(context_settings=GROUP)
def main() -> None:
    """Measure a model, the bundled one unless told otherwise, and make a page of what was measured."""


@main.command(cls=Command, interrupted="Finished questions are kept; the same command goes on.")
@on_sources
@click.option("--model", "path", type=FOLDER, help="The model's folder; --vectors are its encoder's.  [default: the bundled one]")
@click.option("--leave-out", multiple=True, help="Not this one; may be repeated.")
@click.option("--questions", multiple=True, type=click.Choice([*QUESTIONS, JUDGED]), help="Only this one; may be repeated.")
@click.option(
    "--weights", help="Of the views, comma-separated in the model's order, beside weights 1.  [default: the model's own]"
)
@click.option("--weights-from", help="Choose --weights on this collection, which is then left out.")
@click.option("--raw-sae", type=FOLDER, help="Model whose dictionary saw raw vectors only.")
@click.option(
    "--cot",
    type=FILE,
    help="GGUF file of a language model: time what it takes to write the CoT reasoner's texts about 24 documents.",
)
@click.option(
    "--judge",
    type=click.Path(exists=True, path_type=Path),
    help="A language model, GGUF file or transformers folder: let it write and judge hypotheses.",
)
@click.option("--judge-model", help="The same with a model of this name behind an OpenAI-compatible endpoint.")
@click.option("--base-url", metavar="URL", help="That endpoint, e.g. http://localhost:8000/v1.")
@click.option("--api-key-env", metavar="NAME", help="Environment variable with its key.")
@click.option("--judge-texts", metavar="NAME", help="Folder in --data with the texts that hypotheses are made from.")
@click.option("--judge-features", default=100, show_default=True, type=click.IntRange(min=2), help="Of each dictionary.")
@click.option("--answers", type=NEW_FOLDER, help="Keeps the judge's answers.  [default: OUT/judged]")
@click.option("--seed", default=0, show_default=True, help="Of samples and bootstrap.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of one JSON file per question and collection.")
def measure(
    opened, path, leave_out, questions, weights, weights_from, raw_sae, cot, judge, judge_model, base_url, api_key_env, judge_texts,
    judge_features, answers, seed, out,
) -> None:  # fmt: skip
    """Ask every question of a model on every collection.

    What --out holds already for the same weights, collection, seed and options is kept. Latency is measured on the
    largest collection alone, and labels without a language model. A judge is asked about every collection; its answers
    are kept as they come, and the same command goes on with them.
    """
    if weights and weights_from:
        raise click.UsageError("--weights goes without --weights-from")
    if (judge is not None) + (judge_model is not None) > 1 or (base_url or api_key_env) and not judge_model:
        raise click.UsageError("--judge goes without --judge-model, --base-url and --api-key-env, and these with --judge-model")
    if JUDGED in questions and not (judge or judge_model):
        raise click.UsageError("--questions judged needs --judge or --judge-model")
    model = Xetrieval.default() if path is None else Xetrieval(path)
    sources = opened(model)
    if (judge or judge_model) and not (sources.data and judge_texts):
        raise click.UsageError("--judge and --judge-model need --data and --judge-texts")
    run = Run(
        model, sources, out, {"model": weights_of(model), "seed": seed},
        _command(sources.told, path, weights, weights_from, raw_sae, seed),
    )  # fmt: skip
    try:
        chosen = [float(w) for w in weights.split(",")] if weights else list(model.weights.values())
    except ValueError:
        raise click.BadParameter(f"expects numbers such as 0.3,0,0.5, found {weights!r}", param_hint="--weights") from None
    if len(chosen) != len(model.aspects):
        raise click.BadParameter(f"expects one for each of {', '.join(model.aspects)}, found {weights!r}", param_hint="--weights")
    if weights_from:
        chosen = run.choose(weights_from)
    raw = Xetrieval(raw_sae) if raw_sae else None
    names = [n for n in sources.names() if n not in {*leave_out, weights_from}]
    run.all(names, [q for q in questions or QUESTIONS if q != JUDGED], chosen, raw)
    if cot is not None:
        run.cot(names, cot)
    if judge or judge_model:
        llm = _local(judge) if judge else EndpointLLM(
            judge_model, base_url=base_url, api_key_env=api_key_env, max_tokens=JUDGE_TOKENS, temperature=0, workers=1
        )  # fmt: skip
        run.command += " --judge FILE" if judge else f" --judge-model {judge_model} --base-url URL"
        texts = Source.read(sources.data, judge_texts, vectors=sources.vectors)
        run.judged(names, llm, texts, judge_features, raw, answers or out / "judged")


def _local(path: Path) -> TransformersLLM:
    folder, file = (path.parent, path.name) if path.is_file() else (path, None)
    return TransformersLLM(str(folder), gguf_file=file, max_tokens=JUDGE_TOKENS, temperature=0, batch_size=16, dtype="bfloat16")


def _command(told, path, weights, weights_from, raw_sae, seed) -> str:
    """As given, but for folders, which are the reader's own."""
    parts = [f"python -m {MODULE} measure{told}{' --model MODEL' if path else ''}"]
    parts += [f"--weights {weights}"] if weights else []
    parts += [f"--weights-from {weights_from}"] if weights_from else []
    parts += ["--raw-sae FOLDER"] if raw_sae else []
    return " ".join([*parts, f"--seed {seed} --out {'docs/results' if path is None else 'FOLDER'}"])


@main.command(cls=Command, interrupted="The page stays as it was.")
@click.option("--results", type=FOLDER, required=True, help="Folder of the JSON files.")
@click.option("--out", type=NEW_FOLDER, required=True, help="Folder of results.md and figures/.")
def render(results: Path, out: Path) -> None:
    """Make the page and its figures from the JSON files, and from nothing else."""
    from recipes.results_page import render_page  # matplotlib is an extra

    click.echo(render_page(results, out))


if __name__ == "__main__":
    main(prog_name=f"python -m {MODULE}")
