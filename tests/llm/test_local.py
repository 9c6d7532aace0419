"""A local model of the transformers library, from a GGUF file of random weights."""

import warnings

from pyterrier_xetrieval.llm.local import TransformersLLM
from pyterrier_xetrieval.training.teacher import Teacher
from tests.helpers.gguf import write_tiny_gguf
from tests.helpers.llm_server import lines


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
