"""From a description to its encoder, and how an encoder is recognised; the classes are in :mod:`.sentence_encoders`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .core.checks import found_value

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

SAME = 0.99  # the cosine of one text's vectors, encoded on other devices or in other batches, is well above this


def encoder_class(name: str) -> type[BiEncoder]:
    """The class of the encoder of this name: ``MiniLM``, :class:`pyterrier_dr.E5`, or ``SentenceEncoder``."""
    from pyterrier_dr import E5  # late, as in load_encoder: a model is at hand before its encoder is needed

    from .sentence_encoders import MINILM_NAME, MiniLM, SentenceEncoder

    if name == MINILM_NAME:
        return MiniLM
    return E5 if Path(name).name.startswith(("e5-", "multilingual-e5-")) else SentenceEncoder


def load_encoder(description: Mapping[str, Any], **options: Any) -> BiEncoder:
    """The pyterrier_dr encoder that an artifact describes.

    Args:
        description: ``{"name": …, "dim": …}``; :func:`encoder_class` says of which class the encoder is.
        options: passed to the encoder: ``batch_size``, ``text_field``, ``verbose``, ``device``.

    Raises:
        ValueError: the description names no encoder, or prefixes that the encoder of that name would not add.

    Example::

        encoder = load_encoder({"name": "intfloat/e5-large-v2", "dim": 1024}, device="cuda")
    """
    name = description.get("name")
    if not name:
        raise ValueError("this model does not say which encoder it belongs to; use your own pyterrier_dr encoder")
    from pyterrier_dr import E5

    from .sentence_encoders import MiniLM, loading_bars

    kind = encoder_class(name)
    prefixes = {key: description[key] for key in ("query_prefix", "document_prefix") if description.get(key)}
    if prefixes and kind is not E5:
        raise ValueError(f"the encoder {name!r} wants {prefixes}, which {kind.__name__} does not add; use an encoder of your own")
    with loading_bars(options.get("verbose", False)):
        return kind(**options) if kind is MiniLM else kind(name, **options)


def encoder_identity(encoder: Any, uses: Sequence[str], *, stage: str) -> dict[str, Any]:
    """What tells an encoder from others: class, model name and length.

    Args:
        encoder: a pyterrier_dr bi-encoder, or what has the parts of one that are needed.
        uses: the names of these parts.
        stage: who asks; named in errors.

    Raises:
        ValueError: a part is missing, or the encoder has no ``model_name`` and its repr is another one in each process.
    """
    if not all(hasattr(encoder, part) for part in uses):
        raise ValueError(f"{stage} expects a pyterrier_dr bi-encoder, found {found_value(encoder)}")
    kind, name = type(encoder), getattr(encoder, "model_name", None) or repr(encoder)
    if " object at 0x" in name:
        raise ValueError(f"{stage} expects an encoder with a model_name to know it again, found {name}")
    # kept in files: the classes of this package keep the name that version 0.1 wrote, wherever they move
    module = kind.__module__.replace(f"{__package__}.sentence_encoders", f"{__package__}.encoder")
    return {"class": f"{module}.{kind.__qualname__}", "name": name, "max_length": getattr(encoder, "max_length", None)}


def check_same_encoder(known: np.ndarray, found: np.ndarray, folder: Path, *, stage: str) -> None:
    """ValueError if a text's vector by this encoder is not the one that is known from its vectors in a folder."""
    if not same_direction(known, found):
        raise ValueError(f"{stage} found other vectors of this encoder in {folder}: the encoder has changed; remove it")


def same_direction(known: np.ndarray, found: np.ndarray) -> bool:
    """Whether two vectors ``[m]`` may be those of one text by one encoder.

    >>> same_direction(np.array([1.0, 0.0]), np.array([0.9, 0.01])), same_direction(np.array([1.0, 0.0]), np.ones(2))
    (True, False)
    """
    return known.shape == found.shape and bool(known @ found >= SAME * np.linalg.norm(known) * np.linalg.norm(found))
