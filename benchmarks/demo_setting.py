"""What the benchmarks over the Python documentation share: their options, one setting of threads, and the demo's vectors."""

from __future__ import annotations

import argparse
from pathlib import Path

import pyterrier as pt
import torch
from pyterrier_dr import FlexIndex
from threadpoolctl import threadpool_limits

from pyterrier_xetrieval import Xetrieval, pydocs
from pyterrier_xetrieval.cli.demo_job import Demo
from pyterrier_xetrieval.store.files import new_folder


def demo_setting(description: str, **numbers: int) -> tuple[argparse.Namespace, Xetrieval, Demo]:
    """Reads options that are ``numbers`` (``--repeat`` …) and ``--threads``, opens the bundled model and the demo's index.

    The demo's documents are embedded once and then kept.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {**numbers, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    threadpool_limits(args.threads)  # numpy's own, for the whole run
    model = Xetrieval.default()
    return args, model, Demo(pydocs(), model, Path(pt.io.pyterrier_home()) / "xetrieval")


def original_vectors(job: Demo) -> FlexIndex:
    """The documents' own vectors, without views, encoded once and then kept beside the demo's index."""
    path = job.folder / "original.flex"
    if not path.is_dir():
        with new_folder(path) as unfinished:
            indexer = FlexIndex(str(unfinished), verbose=False).indexer(mode="overwrite")  # the folder is there already
            (job.encoder >> indexer).index(job.dataset.get_corpus_iter(verbose=False))
    return FlexIndex(str(path), verbose=False)
