"""A language model in this process: transformers models and GGUF files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .endpoints import Answer, Options


@dataclass(frozen=True, repr=False)
class TransformersLLM(Options):
    """A local ``transformers`` model, GGUF files included, in batches.

    GGUF weights are unpacked on loading: left in their blocks they generate about one token per second without a kernel
    for them. Needs ``accelerate`` and ``gguf`` for such a file.

    Args:
        model: Hub id or folder.
        gguf_file: name of the GGUF file in there.
        max_tokens: of each answer.
        temperature: 0 for the likeliest answer, None for the model's own generation settings.
        batch_size: prompts per forward pass.
        device: e.g. ``"cuda"``; the CPU unless said otherwise.
        dtype: of the weights; ``"auto"`` is that of the checkpoint. A warning says if the processor is slow with bfloat16.
        name: recorded with every text; default the GGUF file's or the model's name, without its folder.

    Raises:
        ImportError: a package that this model needs is not installed (on first use).
        OSError: no such model (on first use).

    Example::

        TransformersLLM("Qwen/Qwen3-0.6B", device="cuda", batch_size=16)
    """

    model: str
    _: KW_ONLY
    gguf_file: str | None = None
    max_tokens: int = 1024
    temperature: float | None = None
    batch_size: int = 4
    device: str | int | None = None
    dtype: str = "auto"
    name: str = ""

    workers = 1

    def __post_init__(self) -> None:
        if not self.name:
            local = Path(self.model).name if Path(self.model).exists() else str(self.model)
            object.__setattr__(self, "name", Path(self.gguf_file).stem if self.gguf_file else local)

    def generate(self, prompts: Sequence[str]) -> list[Answer]:
        import torch

        tokenizer, model = self._loaded
        texts, bare = list(prompts), not tokenizer.chat_template
        if not bare:
            chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
            texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
        batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=bare).to(model.device)
        sampling: dict[str, Any] = {}
        if self.temperature is not None:
            sampling = {"do_sample": True, "temperature": self.temperature} if self.temperature else {"do_sample": False}
        with torch.inference_mode():
            out = model.generate(**batch, max_new_tokens=self.max_tokens, pad_token_id=tokenizer.pad_token_id, **sampling)
        ends = model.generation_config.eos_token_id
        stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        answers = []
        for used, new in zip(batch["attention_mask"].sum(1).tolist(), out[:, batch["input_ids"].shape[1] :].tolist()):
            end = next((i for i, token in enumerate(new) if token in stops), None)
            text = tokenizer.decode(new[:end], skip_special_tokens=True)
            answers.append(Answer(text, used, len(new) if end is None else end + 1, "length" if end is None else "stop"))
        return answers

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        import transformers

        from ..core.bfloat16 import warn_if_slow  # late: it loads torch

        options: dict[str, Any] = {"gguf_file": self.gguf_file} if self.gguf_file else {}
        tokenizer = transformers.AutoTokenizer.from_pretrained(self.model, padding_side="left", **options)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if self.gguf_file and hasattr(transformers, "GgufConfig"):  # older versions always unpack
            options["quantization_config"] = transformers.GgufConfig(dequantize=True)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(self.model, dtype=self.dtype, **options)
        model = model.to("cpu" if self.device is None else self.device).eval()
        warn_if_slow(model.dtype, model.device, stage="TransformersLLM", remedy="use dtype='float32'")
        return tokenizer, model
