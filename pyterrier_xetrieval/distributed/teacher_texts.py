"""Teacher texts over a cluster: each part by the same teacher into a file of its own, then one file."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import pyterrier as pt

from ..core.checks import positive_int
from ..llm.prompts import digest
from ..llm.teacher_run import Report
from ..store.files import replacing, same_as_kept
from ..store.jsonl import appending, json_lines
from ..training.teacher import Teacher
from .cluster import Workforce, require_ray, run_parts
from .corpus_parts import Part, cut, digest_of
from .shared_folder import JOB, LOCK, check_free, put_away, shared_token, wait_for_files, wait_for_lock

STAGE = "write_texts"


def write_texts(
    teacher: Teacher, corpus, path, *, aspects=None, part_size: int = 1000, workers: int | None = None, num_cpus: float = 1,
    num_gpus: float = 0, verbose: bool = False,
) -> Report:  # fmt: skip
    """:meth:`~pyterrier_xetrieval.training.Teacher.write` on a Ray cluster: the same lines, part after part.

    Every worker asks the teacher's model itself, ``teacher.llm.workers`` requests at once (a key is read from the worker's
    own environment). Each text is on the shared folder ``PATH.parts`` as soon as it has come back; the file at ``path`` is
    written when all parts are through. Where texts are missing then, the parts stay, and the same call asks for those.

    Args:
        teacher: its model a :class:`~pyterrier_xetrieval.training.EndpointLLM`, or any that can be pickled.
        corpus: as in :func:`index_corpus`.
        path: of the file with all texts.
        aspects, verbose: as in ``Teacher.write``.
        part_size: documents per part.
        workers, num_cpus, num_gpus: as in :func:`index_corpus`.

    Returns:
        a report over all parts, of this call; what a worker wrote before it died counts as kept.

    Raises:
        ImportError: no Ray.
        FileExistsError: a finished file at ``path`` (``Teacher.write`` goes on with one).
        ValueError: as in ``Teacher.write``; no documents; one docno for two documents.
        TeacherError: as in ``Teacher.write``.
        FileNotFoundError, RuntimeError: as in :func:`index_corpus`.

    Example::

        llm = EndpointLLM("qwen3-32b", base_url="http://teacher:8000/v1", workers=32)  # seen from every machine
        write_texts(Teacher(llm), "/shared/corpus.jsonl", "/shared/reasoning.jsonl", workers=8)
    """
    require_ray(STAGE)
    cluster = Workforce.checked(workers, num_cpus, num_gpus, stage=STAGE)
    aspects, path, start = teacher.check_aspects(aspects, stage=STAGE), Path(path).expanduser().absolute(), time.monotonic()
    size = positive_int(part_size, "part_size", stage=STAGE)
    folder = path.with_name(f"{path.name}.parts")
    total = Report(cost=None if teacher.price is None else 0.0)
    check_free(folder, path, stage=STAGE)
    with appending(folder / LOCK):
        check_free(folder, path, stage=STAGE)  # another run may just have finished
        shared_token(folder)
        prompts = {aspect: digest(teacher.prompts[aspect], 12) for aspect in aspects}
        same_as_kept(folder / JOB, {"model": teacher.llm.name, "prompts": prompts, "part_size": size}, stage=STAGE)
        parts = cut(corpus, size, folder / "corpus", stage=STAGE)
        same_as_kept(folder / "parts.json", digest_of(parts), stage=STAGE)
        job = _Ask(folder, teacher, aspects)
        with pt.tqdm(total=parts[-1].stop, desc="teach", unit="d", disable=not verbose) as bar:
            for i, report in run_parts(job, parts, folder, cluster, stage=STAGE):
                total = _sum(total, report)
                bar.update(len(parts[i]))
        wait_for_files(map(job.file, parts), stage=STAGE)
        _join([job.file(part) for part in parts], path)
        gone = None if total.failed else put_away(folder)
    if gone is None:
        told = f"{total.failed} text(s) are missing, see *.failures.jsonl in {folder}; the same call asks for them again"
        warnings.warn(told, stacklevel=2)
    else:
        shutil.rmtree(gone)
    return replace(total, seconds=time.monotonic() - start)


@dataclass
class _Ask:
    folder: Path
    teacher: Teacher
    aspects: tuple

    def file(self, part: Part) -> Path:
        return self.folder / f"{part.name}.jsonl"

    def start(self) -> None:
        pass

    def run(self, part: Part) -> Report:
        wait_for_lock(self.file(part))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # missing texts are counted in the report
            return self.teacher.write(part.documents(), self.file(part), aspects=self.aspects)


def _sum(total: Report, report: Report) -> Report:
    names = ("written", "kept", "failed", "input_tokens", "output_tokens")
    sums = {name: getattr(total, name) + getattr(report, name) for name in names}
    return replace(total, **sums, cost=None if total.cost is None else total.cost + report.cost)


def _join(files: list[Path], path: Path) -> None:
    """All lines, part after part; of a document that is there twice the first."""
    seen = {}
    with replacing(path, "wb") as out:
        for file in files:
            for _, row in json_lines(file):
                key = row["_id"], row["aspect"]
                if seen.get(key, row["doc"]) != row["doc"]:
                    raise ValueError(f"{STAGE} expects a docno of its own for each document, found {row['_id']!r} for two")
                if key in seen:
                    continue
                seen[key] = row["doc"]
                out.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
