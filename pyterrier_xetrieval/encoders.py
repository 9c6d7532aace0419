"""From a description to its encoder, and how an encoder is recognised; the classes are in :mod:`.sentence_encoders`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .core.checks import found_value

if TYPE_CHECKING:
    from pyterrier_dr import BiEncoder

# trained with "query: " and "passage: "; their instruct and mistral relatives were trained with instructions
E5_MODELS = frozenset(
    f"intfloat/{name}"
    for name in (
        *("e5-small", "e5-base", "e5-large", "e5-small-v2", "e5-base-v2", "e5-large-v2"),
        *("multilingual-e5-small", "multilingual-e5-base", "multilingual-e5-large"),
    )
)
_E5_PREFIXES = {"query": "query: ", "document": "passage: "}
SAME = 0.99  # the cosine of one text's vectors, encoded on other devices or in other batches, is well above this


def encoder_class(name: str, kept_as: str = "") -> type[BiEncoder]:
    """The class of the encoder of this name: ``MiniLM``, :class:`pyterrier_dr.E5`, or ``SentenceEncoder``.

    The prefixes of E5, ``query: `` and ``passage: ``, are for the models that were trained with them: those of
    :data:`E5_MODELS`, by name or in a folder that says it is one. Prompts that a folder configures come before them.

    Args:
        name: on the Hugging Face hub, or a folder.
        kept_as: the class that an artifact says its encoder was of, as :func:`encoder_identity` writes it.
    """
    from pyterrier_dr import E5  # late, as in load_encoder: a model is at hand before its encoder is needed

    from .sentence_encoders import MINILM_NAME, MiniLM, SentenceEncoder

    if name == MINILM_NAME:
        return MiniLM
    if kept_as:
        return E5 if kept_as.endswith(".E5") else SentenceEncoder
    return E5 if _says_e5(name) and not any(_configured_prompts(name).values()) else SentenceEncoder


def _says_e5(name: str) -> bool:
    """Whether this is a name of :data:`E5_MODELS`, a downloaded copy of one, or a folder saved from one."""
    if name in E5_MODELS:
        return True
    copies = {f"models--{model.replace('/', '--')}" for model in E5_MODELS}  # as the hub's cache calls them
    return bool(copies & set(Path(name).parts)) or _json(Path(name) / "config.json").get("_name_or_path") in E5_MODELS


def _configured_prompts(name: str) -> dict[str, str]:
    return _json(Path(name) / "config_sentence_transformers.json").get("prompts") or {}


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def load_encoder(description: Mapping[str, Any], **options: Any) -> BiEncoder:
    """The pyterrier_dr encoder that an artifact describes.

    Args:
        description: ``{"name": …, "dim": …}``; :func:`encoder_class` says of which class the encoder is. ``query_prefix`` and
            ``document_prefix``, and ``options`` of :class:`~pyterrier_xetrieval.SentenceEncoder`, are used where they are said.
        options: passed to the encoder: ``batch_size``, ``text_field``, ``verbose``, ``device``.

    Raises:
        ValueError: the description names no encoder, or prefixes that the encoder of that name would not add.

    Example::

        encoder = load_encoder({"name": "intfloat/e5-large-v2", "dim": 1024}, device="cuda")
    """
    name = description.get("name")
    if not name:
        raise ValueError("this model does not say which encoder it belongs to; use your own pyterrier_dr encoder")
    from .sentence_encoders import MiniLM, SentenceEncoder, loading_bars

    kind = encoder_class(name, description.get("class", ""))
    sides = {"query_prefix": "query", "document_prefix": "document"}
    prefixes = {side: description[key] for key, side in sides.items() if description.get(key)}
    if kind is SentenceEncoder:
        options = {**({"prompts": prefixes} if prefixes else {}), **description.get("options", {}), **options}
    elif prefixes and (kind is MiniLM or prefixes != _E5_PREFIXES):
        raise ValueError(f"the encoder {name!r} wants {prefixes}, which {kind.__name__} does not add; use an encoder of your own")
    with loading_bars(options.get("verbose", False)):
        encoder = kind(**options) if kind is MiniLM else kind(name, **options)
    if kind is SentenceEncoder and _called_e5(name) and not any(encoder.model.prompts.values()) and "prompts" not in options:
        warnings.warn(
            f"the encoder {name!r} is called like an E5 model, and neither says that it is one nor configures prompts: its texts "
            'get none. If it was trained with them, use SentenceEncoder(name, prompts={"query": "query: ", "document": "passage: "})',
            stacklevel=2,
        )
    return encoder


def _called_e5(name: str) -> bool:
    return Path(name).name.lower().startswith(("e5-", "multilingual-e5-"))


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
