"""Teacher texts over a cluster: each part by the same teacher into a file of its own, then one file."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.checks import positive_int
from ..llm.engine import Report
from ..llm.prompts import digest
from ..store.files import replacing, same_as_kept
from ..store.jsonl import json_lines
from ..training.teacher import Teacher
from .cluster import PartJob, Workers
from .corpus_parts import Corpus, Part, cut, digest_of
from .shared_folder import JOB, job_folder, wait_for_lock

STAGE = "write_texts"


def write_texts(
    teacher: Teacher,
    corpus: Corpus,
    path: str | os.PathLike[str],
    *,
    aspects: Sequence[str] | None = None,
    part_size: int = 1000,
    workers: int | None = None,
    num_cpus: float = 1,
    num_gpus: float = 0,
    verbose: bool = False,
) -> Report:
    """:meth:`~pyterrier_xetrieval.training.Teacher.write` on a Ray cluster: the same lines, part after part.

    Every worker asks the teacher's model itself, ``teacher.llm.workers`` requests at once (a key is read from the worker's
    own environment). Each text is in the shared folder ``PATH.parts`` as soon as it has come back; the file at ``path`` is
    written when all parts are through. Where texts are missing then, the parts stay, and the same call asks for those.

    Args:
        teacher: its model a :class:`~pyterrier_xetrieval.training.EndpointLLM`, or any that can be pickled.
        corpus: as in :func:`index_corpus`.
        path: of the file with all texts.
        aspects: as in ``Teacher.write``.
        part_size: documents per part.
        workers, num_cpus, num_gpus, verbose: as in :func:`index_corpus`.

    Returns:
        a report over all parts, of this call; what a worker wrote before it died counts as kept.

    Raises:
        FileExistsError: a finished file at ``path`` (``Teacher.write`` goes on with one).
        ValueError: as in ``Teacher.write``; no documents; one docno for two documents.
        TeacherError: as in ``Teacher.write``.
        FileNotFoundError, RuntimeError: as in :func:`index_corpus`.

    Example::

        llm = EndpointLLM("qwen3-32b", base_url="http://teacher:8000/v1", workers=32)  # seen from every machine
        write_texts(Teacher(llm), "/shared/corpus.jsonl", "/shared/reasoning.jsonl", workers=8)
    """
    crew, start = Workers(workers, num_cpus, num_gpus, STAGE), time.monotonic()
    aspects, path = teacher.check_aspects(aspects, stage=STAGE), Path(path).expanduser().absolute()
    size = positive_int(part_size, "part_size", stage=STAGE)
    folder = path.with_name(f"{path.name}.parts")
    with job_folder(folder, stage=STAGE, result=path) as finish:
        prompts = {aspect: digest(teacher.prompts[aspect], 12) for aspect in aspects}
        same_as_kept(folder / JOB, {"model": teacher.llm.name, "prompts": prompts, "part_size": size}, stage=STAGE)
        parts = cut(corpus, size, folder / "corpus", stage=STAGE)
        same_as_kept(folder / "parts.json", digest_of(parts), stage=STAGE)
        job = TeacherPartJob(folder, teacher, aspects)
        report = _sum(crew.do(job, parts, folder, verbose=verbose))
        _join([job.file(part) for part in parts], path)
        if not report.failed:
            finish()
    if report.failed:
        told = f"{report.failed} text(s) are missing, see *.failures.jsonl in {folder}; the same call asks for them again"
        warnings.warn(told, stacklevel=2)
    report.seconds = time.monotonic() - start
    return report


@dataclass
class TeacherPartJob(PartJob):
    """Asks for the texts of a part that its file does not hold."""

    folder: Path
    teacher: Teacher
    aspects: Sequence[str]

    def file(self, part: Part) -> Path:
        return self.folder / f"{part.name}.jsonl"

    def is_done(self, part: Part) -> bool:
        return False  # texts may be missing in a file that is there

    def run(self, part: Part) -> Report:
        wait_for_lock(self.file(part))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # missing texts are counted in the report
            return self.teacher.write(part.documents(), self.file(part), aspects=self.aspects)


def _sum(reports: Sequence[Report]) -> Report:
    names = ("written", "kept", "failed", "input_tokens", "output_tokens")
    costs = [report.cost for report in reports if report.cost is not None]
    sums = {name: sum(getattr(report, name) for report in reports) for name in names}
    return Report(**sums, cost=sum(costs) if costs else None)


def _join(files: Iterable[Path], path: Path) -> None:
    """Writes the lines of all parts, part after part, those about a document once."""
    seen: dict[tuple[str, str], str] = {}
    with replacing(path, "wb") as out:
        for file in files:
            for _, row in json_lines(file):
                key = row["_id"], row["aspect"]
                if seen.get(key, row["doc"]) != row["doc"]:
                    raise ValueError(f"{STAGE} expects a docno of its own for each document, found {row['_id']!r} for two")
                if key not in seen:
                    seen[key] = row["doc"]
                    out.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
