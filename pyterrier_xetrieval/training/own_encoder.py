"""The encoder of a model that is being made: opened, described for the artifact, and looked at for what may be a mistake."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders import SENTENCE_ENCODER, encoder_class, encoder_identity, load_encoder, pooling_of
from ..token_vectors import declared_prompts
from .plan import FEW

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

STAGE = "train_model"
_LONG_MEAN = 0.7  # of the vectors' length: E5's share .85 to .92


def loaded(
    encoder: BiEncoder | str | os.PathLike[str], device: str | None, query_prefix: str | None, document_prefix: str | None,
    normalize: bool | None,
) -> BiEncoder:  # fmt: skip
    """The encoder of :func:`.whole_model.train_model`; its errors speak for that."""
    prefixes = {"query_prefix": query_prefix, "document_prefix": document_prefix}
    said = {name: value for name, value in prefixes.items() if value is not None}
    options = {} if normalize is None else {"normalize": normalize}
    if not isinstance(encoder, (str, os.PathLike)):
        if said or options:
            raise ValueError(f"{STAGE} expects {[*said, *options]} with an encoder by name or folder, found {encoder!r}")
        encoder_identity(encoder, ["encode_docs"], stage=STAGE)  # ValueError if it is none
        return encoder
    name = os.path.abspath(encoder) if Path(encoder).exists() else str(encoder)
    kind = {"class": SENTENCE_ENCODER} if said or options else {}  # E5's own class adds its prefixes and no others
    try:
        return load_encoder({"name": name, **kind, **said, "options": options}, device=device)
    except (OSError, ValueError) as error:
        if "normalize=True or False" in str(error):
            raise ValueError(f"{STAGE}: {error}") from None
        raise FileNotFoundError(f"{STAGE} could not load the encoder {name!r}: {str(error).strip().splitlines()[0]}") from None


def description(encoder: BiEncoder, vectors: np.ndarray, path: Path) -> dict[str, Any]:
    """What the artifact at ``path`` says of its encoder; without a name where a name would load another one."""
    from pyterrier_dr import SBertBiEncoder  # late, as it takes seconds

    from ..sentence_encoders import MINILM_NAME, SentenceEncoder

    sample = np.asarray(vectors[:1000])
    identity = encoder_identity(encoder, ["encode_docs"], stage=STAGE)
    name = encoder.source if isinstance(encoder, SentenceEncoder) else getattr(encoder, "model_name", None)
    by_name = name and (
        type(encoder) is encoder_class(name, identity["class"])
        or (type(encoder) is SBertBiEncoder and not any(encoder.model.prompts.values()))
    )
    options = {n: v for n, v in encoder.options.items() if n != "prompts"} if type(encoder) is SentenceEncoder else {}
    prompts = {} if name == MINILM_NAME else declared_prompts(encoder)
    folder = str(name) if by_name and os.path.isdir(str(name)) else ""
    return {
        **identity,
        **({"options": options} if options else {}),
        **{f"{side}_prefix": prompt for side, prompt in prompts.items()},
        **({"relative": os.path.relpath(os.path.realpath(folder), os.path.realpath(path))} if folder else {}),
        "pooling": pooling_of(encoder),
        "name": name if by_name else "",
        "dim": sample.shape[1],
        "normalize": bool(np.allclose(np.linalg.norm(sample, axis=1), 1, atol=1e-3)),
        "similarity": "dot",
    }


def warn_of_vectors(encoder: BiEncoder, z: np.ndarray, documents: int) -> None:
    """Says what looks like a mistake, while there is time: bare texts to an E5, vectors of many lengths, few documents."""
    sample = np.asarray(z[:1000], np.float64)
    lengths = np.linalg.norm(sample, axis=1)
    if abs(lengths.mean() - 1) > 0.01 or lengths.std() > 0.01:
        warnings.warn(
            f"{STAGE}: the vectors of {encoder!r} have lengths of {lengths.min():.3g} to {lengths.max():.3g}; if its authors compare by "
            "cosine, train with normalize=True",
            stacklevel=3,
        )
    mean = np.linalg.norm((sample / lengths[:, None].clip(1e-12)).mean(axis=0))
    if mean > _LONG_MEAN and not any(declared_prompts(encoder).values()):
        warnings.warn(
            f"{STAGE}: the vectors of {encoder!r} share a mean of {mean:.2f} of their length, as those of E5 do, which was trained with "
            'prefixes; its texts get none. If it wants them: query_prefix="query: ", document_prefix="passage: "',
            stacklevel=3,
        )
    if documents < FEW:
        warnings.warn(
            f"{STAGE}: {documents:,} documents are few for a dictionary: it explains them better than others, see the card; "
            "general= mixes in (more) texts of other kinds",
            stacklevel=3,
        )
