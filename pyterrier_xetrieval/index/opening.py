"""What is looked at when an index is opened, and what can be looked at afterwards."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.codes import encode_view
from ..model import Xetrieval
from ..store.checksums import check_sha256, sha256
from ..store.facts import COUNT, TEXTS_BY_NAME, check_facts, is_count, regular
from ..store.files import artifact_facts
from .storage import FOLDED, LOOKUP, META, MODEL, SHARDS, VECTORS, VERSION, VERSION_WITH_DELETIONS

if TYPE_CHECKING:
    from .artifact import XetrievalIndex

_COUNTS = ("version", "documents", "shards", "shards_bytes")


def read_facts(path: Path, kind: type[XetrievalIndex]) -> dict[str, Any]:
    """The facts of a finished index, whose list of shards fits its checksum.

    Args:
        path: the folder; kind: the class of artifact that it must be.

    Raises:
        FileNotFoundError: no finished index.
        ValueError: another kind of artifact, another layout, or damaged facts.
    """
    try:
        meta = artifact_facts(path, kind, {*_COUNTS, "sha256"})
    except FileNotFoundError:
        state = "an unfinished index; start its indexing again" if (path / SHARDS).exists() else "nothing"
        raise FileNotFoundError(f"no finished XetrievalIndex at {path}: {META} is missing (found {state})") from None
    if meta["version"] not in (VERSION, VERSION_WITH_DELETIONS) and is_count(meta["version"]):
        raise ValueError(
            f"{path} has format {meta['version']}, this version of the package reads formats {VERSION} and "
            f"{VERSION_WITH_DELETIONS}; index the corpus again with it, model.indexer(path), or read it with pyterrier_xetrieval "
            f"{meta.get('package_version', 'of another version')}, which wrote it"
        )
    check_facts(meta, {**dict.fromkeys(_COUNTS, COUNT), "sha256": TEXTS_BY_NAME}, path / META)
    _check_shards(path, meta)
    return meta


def _check_shards(path: Path, meta: dict[str, Any]) -> None:
    check_sha256(regular(path / SHARDS), meta["sha256"].get(SHARDS), meta["shards_bytes"])


def verify(index: XetrievalIndex, *, verbose: bool = False) -> None:
    """See :meth:`XetrievalIndex.verify`."""
    path, layout = index.path, index.layout
    _check_shards(path, index.meta)
    layout.verify(verbose=verbose)
    expected = index.meta["sha256"].get(LOOKUP)
    for file in (path / folder / LOOKUP for folder in (VECTORS, FOLDED)):
        found = sha256(regular(file))
        if found != expected and (path / SHARDS).stat().st_size > index.meta["shards_bytes"]:
            raise ValueError(f"an addition to {path} was cut off as it finished; add the same documents again")
        if found != expected:
            raise ValueError(f"{file} is damaged: it does not fit its checksum")
    fresh = Xetrieval(path / MODEL)
    fresh.sae, fresh.internalizers, fresh.labels  # noqa: B018  (reading compares)
    if fresh.vector_facts is not None and len(index):
        x = np.asarray(layout.vectors(VECTORS)[np.unique(np.linspace(0, len(index) - 1, 256).astype(np.int64))], np.float32)
        facts, codes = fresh.vector_facts, encode_view(fresh.sae, x, refit=False, batch_size=256)
        if problem := facts.wrong_length(x) or facts.wrong_space(fresh.sae, x, codes):
            warnings.warn(
                f"{index!r} holds vectors that its model's encoder does not give: {problem}; index the corpus again with "
                "model.encoder()", stacklevel=3,
            )  # fmt: skip
