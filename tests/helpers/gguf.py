"""A tiny language model as a GGUF file."""


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
