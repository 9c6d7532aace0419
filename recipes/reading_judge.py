"""A language model as the judge of a reading test: it is shown what a person would read, section by section."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyterrier_xetrieval.llm.answer_file import AnswerFile, Question
from pyterrier_xetrieval.llm.endpoints import Answer, LanguageModel, as_model
from pyterrier_xetrieval.llm.engine import ATTEMPTS, GIVE_UP, Run
from pyterrier_xetrieval.llm.prompts import digest, without_reasoning
from pyterrier_xetrieval.store.facts import text_of_file
from pyterrier_xetrieval.store.files import replacing
from recipes import reading_choices as choices
from recipes import reading_sheets as sheets
from recipes.reading_verdicts import VERDICTS

ROWS = "Answer with one line for each row, its number and its verdict, for example `3 2`, and with nothing else."
PAIR = "Answer with the number of the pair and nothing else."
_SECTION = re.compile(r"^## Section (\d+)$", re.MULTILINE)
_ROW = re.compile(r"^(\d+)\. ", re.MULTILINE)
_VERDICT = re.compile(r"^\W*(\d+)\D+(\d)\b", re.MULTILINE)
_NUMBER = re.compile(r"\d+")


def judge_sheets(
    folder: str | os.PathLike[str], llm: LanguageModel | Callable[[str], str], judge: str, *, attempts: int = ATTEMPTS,
    give_up: int = GIVE_UP, verbose: bool = False,
) -> list[Path]:  # fmt: skip
    """Asks a language model about every section of the sheets in a folder, and writes its verdicts as a person would.

    Its answers are kept in ``answers.JUDGE.jsonl`` as they come, so that a run that was ended goes on where it stopped.

    Args:
        folder: of :func:`recipes.reading_sheets.write_sheets` and :func:`.reading_identification.write_choices`; only sheets
            are read.
        llm: the judge, or a function from prompt to text.
        judge: its name in the names of files; two runs under two names are two judges.
        attempts: how often a section is asked about whose answer does not hold what was asked for.
        give_up: sections that may fail in a row before the run ends.
        verbose: show progress.

    Returns:
        The files of verdicts that were written: those of sheets whose sections all have an answer.

    Raises:
        ValueError: no sheets, a name with a dot or a slash, or kept answers of another model or to other sheets.
        TeacherError: the model refused, or ``give_up`` sections in a row failed.

    Example::

        judge_sheets("run1", EndpointLLM("qwen3-32b", base_url="http://localhost:8000/v1"), "qwen")
        read_verdicts("run1")
    """
    if not re.fullmatch(r"[\w-]+", judge):
        raise ValueError(f"judge_sheets expects a judge's name of letters, digits, _ and -, found {judge!r}")
    folder, llm = Path(folder), as_model(llm)
    kinds = {sheets.SHEET: (sheets.QUESTION, ROWS), choices.SHEET: (choices.QUESTION, PAIR)}
    questions = [
        question
        for kind, told in kinds.items()
        for path in sorted(folder.glob(f"{kind}_*.md"))
        for question in _questions(path, *told)
    ]
    if not questions:
        raise ValueError(f"judge_sheets expects sheets such as {sheets.SHEET}_01.md in {folder}, found none")
    facts = {"model": llm.name, "judge": judge}

    def read(question: Question, answer: Answer) -> tuple[dict[str, Any], str | None]:
        found, problem = _read(question, without_reasoning(answer.text))
        return {**question.key, "verdicts": found, **facts, **question.facts}, problem

    file = AnswerFile(
        folder / f"answers.{judge}.jsonl", ("sheet", "section"), lambda row: facts, "asked", "sheets", unit="section"
    )
    run = Run(file, llm, read, attempts=attempts, give_up=give_up, in_order=True)
    run.ask(questions, total=len(questions), verbose=verbose)
    by_sheet: dict[str, dict[int, list[int]]] = {}
    for row in run.rows:
        by_sheet.setdefault(row["sheet"], {})[row["section"]] = row["verdicts"]
    paths = []
    for sheet in dict.fromkeys(question.key["sheet"] for question in questions):
        asked = [question.key["section"] for question in questions if question.key["sheet"] == sheet]
        found = by_sheet.get(sheet, {})
        if set(found) >= set(asked):
            paths.append(folder / f"{sheet}.{judge}.txt")
            with replacing(paths[-1]) as out:
                out.writelines(line for section in asked for line in _lines(sheet, section, found[section]))
    return paths


def _questions(path: Path, instructions: str, answer: str) -> list[Question]:
    """One for each section of a sheet."""
    parts = _SECTION.split(text_of_file(path))[1:]
    out = []
    for number, text in zip(parts[::2], parts[1::2]):
        prompt = f"{instructions}\n{text.strip()}\n\n{answer}"
        out.append(
            Question(
                {"sheet": path.stem, "section": int(number)},
                prompt,
                {"asked": digest(prompt, 32), "rows": len(_ROW.findall(text))},
            )
        )
    return out


def _read(question: Question, answer: str) -> tuple[list[int], str | None]:
    """The verdicts in the order of the rows, or the pair that was chosen; and what is wrong with the answer."""
    if question.key["sheet"].startswith(choices.SHEET):
        numbers = _NUMBER.findall(answer)
        right = len(numbers) == 1 and 1 <= int(numbers[0]) <= choices.CHOICES
        return list(map(int, numbers)), None if right else "not one number of a pair"
    found = {int(row): int(verdict) for row, verdict in _VERDICT.findall(answer)}
    rows = range(1, question.facts["rows"] + 1)
    if set(found) != set(rows) or not set(found.values()) <= set(VERDICTS):
        return [], f"not one verdict for each of {len(rows)} rows"
    return [found[row] for row in rows], None


def _lines(sheet: str, section: int, found: list[int]) -> list[str]:
    if sheet.startswith(choices.SHEET):
        return [f"{section} {found[0]}\n"]
    return [f"{section} {row} {verdict}\n" for row, verdict in enumerate(found, start=1)]
