"""The labels of a model that is being made: words, or hypotheses of a language model if there is one; how far to trust them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.codes import encode_view
from ..core.sae import SparseAutoencoder
from ..datasets.encoded_corpus import EncodedCorpus
from ..labelling.evidence_words import MIN_TEXTS, evidence_labels
from ..labelling.hypotheses import describe
from ..labelling.judged_confidence import believed, fit, judged_excerpts
from ..labelling.keywords import keyword_labels
from ..labelling.passages import EvidencePassages
from ..labelling.quality import detection_scores, with_detection
from ..labelling.samples import feature_samples
from ..labels import FeatureLabels
from ..model import Xetrieval
from ..token_vectors import TokenEncoder
from .own_encoder import STAGE

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

    from ..llm.endpoints import LanguageModel

LABEL_TEXTS = 50_000  # documents that keyword labels are made from: their words and codes are held in memory
EVIDENCE_TEXTS = 2_000  # documents that labels by evidence are made from: they are encoded once more
FLOOR = 0.38  # from which confidence on rows of judged labels are shown: as of the bundled model's


def word_labels(
    sae: SparseAutoencoder, corpora: Sequence[EncodedCorpus], encoder: BiEncoder, path: Path, seed: int, verbose: bool
) -> FeatureLabels:
    """Labels by the words that carry features, or keywords for an encoder that is no sum over tokens; from ``path`` if there.

    Texts are of the first corpus; if it has too few, some of the next ones are added, whose features need a label as well.
    """
    if not path.is_file():
        by_evidence = sum(len(own.documents) for own in corpora) >= MIN_TEXTS and TokenEncoder(encoder).exact
        drawn = [
            np.sort(np.random.default_rng([seed, 3]).permutation(len(own.documents))[:n])
            for own, n in zip(
                corpora, shared_out([len(own.documents) for own in corpora], EVIDENCE_TEXTS if by_evidence else LABEL_TEXTS)
            )
        ]
        some = [text for own, rows in zip(corpora, drawn) for text in own.documents.texts(rows)]
        if by_evidence:
            labels = evidence_labels(sae, some, encoder, seed=seed, verbose=verbose)
        else:
            vectors = np.concatenate([own.index.np_vecs()[rows] for own, rows in zip(corpora, drawn)])
            codes = encode_view(sae, vectors, refit=False, batch_size=1024)
            try:
                labels = keyword_labels(some, codes.ids, codes.activations, dict_size=sae.dict_size)
            except ValueError as error:  # texts without words that could be labels, e.g. in another script
                warnings.warn(f"{STAGE} made no keyword labels: {error}", stacklevel=3)
                labels = FeatureLabels.empty(sae.dict_size)
        labels.write(path)
    return FeatureLabels.read(path, sae.dict_size)


def shared_out(sizes: Sequence[int], most: int) -> list[int]:
    """How many texts of each corpus make up ``most``: all of the earlier ones first.

    >>> shared_out([500, 4_000], 2_000)
    [500, 1500]
    """
    taken: list[int] = []
    for size in sizes:
        taken.append(min(size, most - sum(taken)))
    return taken


def described(
    model: Xetrieval, encoded: EncodedCorpus, encoder: BiEncoder, llm: LanguageModel | Callable[[str], str], work: Path, *,
    seed: int, verbose: bool,
) -> FeatureLabels:  # fmt: skip
    """The model's labels with a hypothesis for each feature that the language model could name, its detection scores, and vectors.

    Their ``confidence`` is fitted on what the language model said of texts, if it tells texts of a feature from others
    (:func:`~pyterrier_xetrieval.labelling.judged_confidence.believed`); else they have none.

    Asked are one question for each feature that a document activates, and 20 for each of up to 500 that enough do. The
    answers are kept in ``work``, as the command ``describe`` keeps them; the same call goes on with the rest.
    """
    samples = feature_samples(model, encoded.index.np_vecs(), docnos=encoded.docnos, seed=seed, verbose=verbose)
    reader = TokenEncoder(encoder)
    evidence = EvidencePassages(model, reader) if reader.exact else None
    told: dict[str, Any] = {"evidence": evidence, "verbose": verbose}
    work.mkdir(parents=True, exist_ok=True)
    labels = describe(samples, encoded.texts, llm, work / "hypotheses.jsonl", labels=model.labels, **told)
    own = labels.table["method"].str.startswith("hypothesis")
    made = FeatureLabels(labels.table[own], labels.dict_size)
    scores = detection_scores(samples, encoded.texts, made, llm, work / "detection.jsonl", seed=seed, **told)
    if not len(scores):
        return labels.encoded(encoder)
    excerpts = judged_excerpts(pd.read_json(work / "detection.jsonl", lines=True), made)
    table = with_detection(labels, own, scores).table
    return FeatureLabels(table, labels.dict_size, fit(excerpts) if believed(excerpts) else None).encoded(encoder)
