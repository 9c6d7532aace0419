"""Folders of other libraries, read and written: the files in a folder tell which library saved it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..core.sae import SparseAutoencoder
from ..store.files import new_folder
from . import dictionary_learning, saelens, sparsify

FORMATS = {"dictionary_learning": dictionary_learning, "saelens": saelens, "sparsify": sparsify}


def read_sae(path: str | os.PathLike[str]) -> SparseAutoencoder:
    """A sparse autoencoder from the folder that another library has saved.

    - ``dictionary_learning`` (``ae.pt`` and ``config.json``): AutoEncoder, AutoEncoderNew, AutoEncoderTopK, BatchTopKSAE,
      MatryoshkaBatchTopKSAE, JumpReluAutoEncoder, GatedAutoEncoder.
    - SAELens (``cfg.json`` and ``sae_weights.safetensors``): standard, topk, jumprelu, gated; batchtopk and
      matryoshka_batchtopk as checkpoints of a training.
    - sparsify and latent-sae (``cfg.json`` and ``sae.safetensors``): topk.

    The result computes what the library's own class computes outside of training; where conventions differ (an encoder
    that does not subtract ``b_dec``, scaled inputs or activations), the difference is folded into the weights.

    Args:
        path: the folder.

    Returns:
        the autoencoder in evaluation mode, its parameters without gradients.

    Raises:
        FileNotFoundError: no folder at ``path``.
        ValueError: a folder of none of these formats, or of more than one; a rule that
            :class:`~pyterrier_xetrieval.SparseAutoencoder` does not have; a tensor that is missing, unexpected or malformed.

    Example::

        sae = read_sae("pythia-70m-deduped/resid_out_layer4/trainer_8")
        x_hat = sae(x)                             # x, x_hat: float32 [n, m]
        Xetrieval.from_parts(internalizers={}, sae=sae, encoder={"name": "…", "dim": sae.dim}, sample=x)  # explains by it
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"read_sae expects a folder, found {'a file' if path.exists() else 'nothing'} at {path}")
    fitting = [name for name, module in FORMATS.items() if all((path / file).is_file() for file in module.FILES)]
    if len(fitting) != 1:
        expected = "; ".join(f"{name}: {' and '.join(module.FILES)}" for name, module in FORMATS.items())
        found = fitting or sorted(file.name for file in path.iterdir())
        raise ValueError(f"read_sae expects the files of one format at {path} ({expected}), found {found}")
    return FORMATS[fitting[0]].read(path)


def write_sae(
    sae: SparseAutoencoder, path: str | os.PathLike[str], *, format: Literal["dictionary_learning", "saelens", "sparsify"]
) -> Path:
    """An autoencoder as a folder that another library loads; all or nothing.

    ``"dictionary_learning"`` and ``"saelens"`` express all three rules (thresholds as JumpReLU, or as a ReLU autoencoder
    where they are all zero), ``"sparsify"`` TopK only.

    Args:
        sae: the autoencoder.
        path: a folder that does not exist yet.
        format: ``"dictionary_learning"``, ``"saelens"`` or ``"sparsify"``.

    Returns:
        the folder.

    Raises:
        FileExistsError: something is at ``path`` already.
        ValueError: an unknown format, or a rule that the format cannot express.

    Example:
        >>> import tempfile
        >>> folder = write_sae(SparseAutoencoder(4, 8, 2), tempfile.mkdtemp() + "/sae", format="saelens")
        >>> sorted(file.name for file in folder.iterdir())  # sae_lens.SAE.load_from_disk(folder) opens it
        ['cfg.json', 'sae_weights.safetensors']
        >>> read_sae(folder).k
        2
    """
    if format not in FORMATS:
        raise ValueError(f"write_sae expects format to be one of {list(FORMATS)}, found {format!r}")
    path = Path(path).expanduser().absolute()
    if path.exists():
        raise FileExistsError(f"{path} already exists; choose another path or remove it first")
    with new_folder(path) as folder:
        FORMATS[format].write(sae, folder)
    return path
