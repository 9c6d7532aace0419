"""A local model of the transformers library, from a GGUF file of random weights."""

import warnings

from llm_server import lines

from pyterrier_xetrieval.llm.local import TransformersLLM
from pyterrier_xetrieval.training.teacher import Teacher


def write_tiny_gguf(path) -> None:
    """A llama of random weights whose vocabulary is the printable characters; one matrix is quantized."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(0)
    tokens = ["<|end|>", *(chr(i) for i in range(33, 127)), "\u0120", "\u010a", "th"]
    dim, hidden, heads = 64, 128, 4
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(dim)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(dim // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {"token_embd": (len(tokens), dim), "output": (len(tokens), dim), "blk.0.ffn_down": (dim, hidden)}
    shapes |= {f"blk.0.ffn_{name}": (hidden, dim) for name in ("gate", "up")}
    shapes |= {f"blk.0.attn_{name}": (dim, dim) for name in ("q", "k", "v", "output")}
    for name, shape in shapes.items():
        weight = rng.normal(size=shape).astype(np.float32)
        if name == "blk.0.ffn_up":
            q4 = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(f"{name}.weight", gguf.quantize(weight, q4), raw_dtype=q4)
        else:
            writer.add_tensor(f"{name}.weight", weight)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(dim, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_local_gguf_model_answers_in_batches_as_it_does_alone(tmp_path):
    out = tmp_path / "reasoning.jsonl"
    write_tiny_gguf(tmp_path / "tiny.Q4_1.gguf")
    llm = TransformersLLM(str(tmp_path), gguf_file="tiny.Q4_1.gguf", max_tokens=6, temperature=0)
    tokenizer, model = llm._loaded
    assert model.dtype.is_floating_point and tokenizer.padding_side == "left"
    prompts = ["a", "a much longer prompt than the other"]
    together = llm.generate(prompts)
    assert together == [llm.generate([prompt])[0] for prompt in prompts]
    assert together[0].input_tokens == 1 and together[1].output_tokens == 6 and together[1].finish == "length"
    model.generation_config.eos_token_id = tokenizer.encode(together[1].text, add_special_tokens=False)[2]
    stopped = llm.generate(prompts)[1]
    assert stopped.finish == "stop" and stopped.output_tokens <= 3 and together[1].text.startswith(stopped.text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = Teacher(llm, prompts={"a": "{text}"}, check=lambda *_: None).write(
            [{"docno": f"d{i}", "text": "Tea."} for i in range(3)], out
        )
    assert report.written == 3 and lines(out)[0]["model"] == "tiny.Q4_1" and str(tmp_path) not in out.read_text()
