import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pyterrier_xetrieval.words import content_words, phrases, spans, units
from tests.helpers.spans import groups_of

TEXT = "Don't use os.path here, e.g. for naïve state-of-the-art code."


def in_words(text, found):
    return [text[start:stop] for start, stop in found.tolist()]


def split(text, pieces):
    """The places of pieces that follow one another in the text."""
    out, at = [], 0
    for piece in pieces:
        at = text.index(piece, at)
        out.append((at, at + len(piece)))
        at += len(piece)
    return np.array(out, np.int32).reshape(-1, 2)


def test_pieces_come_together_to_words():
    tokens = split("Unbelievably good!", ["Un", "believ", "ably", "good", "!"])
    found, groups = units("Unbelievably good!", tokens)
    assert in_words("Unbelievably good!", found) == ["Unbelievably", "good", "!"] and groups.tolist() == [0, 0, 0, 1, 2]
    assert units("Unbelievably good!", tokens, "token")[1].tolist() == [0, 1, 2, 3, 4]


def test_words_with_marks_inside():
    assert in_words(TEXT, spans(TEXT, "word")) == [
        "Don't", "use", "os", "path", "here", "e", "g", "for", "naïve", "state-of-the-art", "code",
    ]  # fmt: skip
    tokens = split(TEXT, "Don ' t use os . path here , e . g . for na ïve state - of - the - art code .".split())
    found, groups = units(TEXT, tokens)
    assert in_words(TEXT, found)[:6] == ["Don't", "use", "os", ".", "path", "here"]
    assert "state-of-the-art" in in_words(TEXT, found)
    assert (np.diff(groups) >= 0).all() and groups[-1] == len(found) - 1


def test_where_a_text_was_cut_the_word_ends_with_what_was_read():
    found, _ = units("unbelievable story", split("unbelievable", ["un", "believ"]))
    assert found.tolist() == [[0, 8]]


def test_scripts_without_spaces_have_the_encoders_tokens():
    text = "東京タワーは333m、ไทย."
    found, groups = units(text, split(text, ["東京", "タワー", "は", "333", "m", "、", "ไท", "ย", "."]))
    assert in_words(text, found) == ["東京", "タワー", "は", "333m", "、", "ไท", "ย", "."] and len(groups) == 9


def test_pieces_of_one_character_and_tokens_without_any():
    text = "so 😀 ok"
    tokens = np.array([[0, 2], [2, 3], [3, 4], [3, 4], [3, 4], [4, 7], [7, 7]])
    found, groups = units(text, tokens)  # a space alone goes with what follows, the end with what was there
    assert in_words(text, found) == ["so", "😀", "ok"] and groups.tolist() == [0, 1, 1, 1, 1, 2, 2]
    found, groups = units("  ", np.array([[0, 1]]))
    assert found.shape == (0, 2) and groups.tolist() == [-1]
    found, groups = units("", np.empty((0, 2), np.int32))
    assert found.shape == (0, 2) and len(groups) == 0


@pytest.mark.parametrize("kind", ["bytes", "metaspace"])
def test_tokenizers_that_put_the_space_into_the_token(kind):
    text = "The naïve façade 😀 stays — café, 東京!  Twice."
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=60, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator([text] * 3, trainer)
    found, groups = units(text, np.array(tokenizer.encode(text).offsets))
    assert set(groups.tolist()) == set(range(len(found)))
    words = in_words(text, found)
    assert [w for w in words if any(map(str.isalpha, w))][:4] == ["The", "naïve", "façade", "stays"]
    assert words[-2:] == ["Twice", "."] and not any(word != word.strip() for word in words)
    assert (found[1:, 0] >= found[:-1, 1]).all()  # none overlaps


def test_sentences_and_paragraphs():
    text = 'First one. "Second!" Is J. Smith (e.g. Dr. Who) third?  no capital here.\n\nNew paragraph… With v1.5 in it\n \n Last'
    assert in_words(text, spans(text, "sentence")) == [
        "First one.", '"Second!"', "Is J. Smith (e.g. Dr. Who) third?  no capital here.", "New paragraph…", "With v1.5 in it", "Last",
    ]  # fmt: skip
    assert in_words(text, spans(text, "paragraph"))[1:] == ["New paragraph… With v1.5 in it", "Last"]
    assert in_words("これは一つ。二つ！三", spans("これは一つ。二つ！三", "sentence")) == ["これは一つ。", "二つ！", "三"]
    assert spans("", "sentence").shape == spans(" \n", "paragraph").shape == (0, 2)
    words = spans(text, "word")
    groups = groups_of(words, spans(text, "sentence"))
    assert groups[0] == 0 and groups[-1] == 5 and (np.diff(groups) >= 0).all()
    found, own = units(text, words, "sentence")
    assert own.tolist() == groups.tolist() and len(found) == 6
    for (start, stop), word_start in zip(found[own], words[:, 0]):
        assert start <= word_start < stop


def test_unknown_units():
    with pytest.raises(ValueError, match="found 'letter'"):
        units("a", np.array([[0, 1]]), "letter")
    with pytest.raises(ValueError, match="found 'token'"):
        spans("a", "token")


def test_content_words():
    text = "The café isn’t not 42 , before"
    found = split(text, text.split())
    assert content_words(text, found).tolist() == [False, True, False, True, True, False, True]


def shown(text, shares, **options):
    words = split(text, text.replace(",", " ,").replace(".", " . ").split())
    return [(p.text, round(p.share, 3), len(p.spans)) for p in phrases(text, words, shares, **options)]


def test_neighbours_make_a_phrase():
    assert shown("sort long list by two keys", [0.1, 0, 0.3, 0.01, 0.2, 0.2]) == [("list by two keys", 0.71, 1), ("sort", 0.1, 1)]
    assert shown("red cars, blue cars", [0.2, 0.2, 0, 0.2, 0.3]) == [("blue cars", 0.5, 1), ("red cars", 0.4, 1)]
    assert shown("call os.path now", [0, 0.2, 0.01, 0.2, 0.04]) == [("os.path", 0.41, 1)]
    assert shown("end. Start", [0.2, 0.1, 0.2]) == [("end", 0.2, 1), ("Start", 0.2, 1)]


def test_equal_phrases_are_one_with_several_places():
    assert shown("List it or sort a list", [0.2, 0.0, 0.0, 0.3, 0, 0.2]) == [("sort a list", 0.5, 1), ("List", 0.2, 1)]
    assert shown("List it or sort his list", [0.2, 0.0, 0.0, 0.0, 0, 0.3]) == [("List", 0.5, 2)]
    assert shown("keys, lists, keys", [0.2, 0, 0.3, 0, 0.2]) == [("keys", 0.4, 2), ("lists", 0.3, 1)]


def test_function_words_stay_out_where_a_content_word_carries_as_much():
    assert shown("the list", [0.3, 0.3]) == [("list", 0.3, 1)]
    assert shown("to be and also not", [0.1, 0.5, 0.1, 0.1, 0.2]) == [("be", 0.5, 1), ("not", 0.2, 1)]
    assert shown("of the", [0.1, 0.2]) == [("of the", 0.3, 1)]  # nothing else is there
    assert shown("it , is", [0.0, 0.4, 0.0]) == []  # and punctuation never says anything


def test_weak_words_and_more_phrases_than_asked_for_are_left_out():
    assert shown("one, two, three, four", [0.1, 0, 0.2, 0, 0.3, 0, 0.4], most=2) == [("four", 0.4, 1), ("three", 0.3, 1)]
    assert shown("one, two", [0.1, 0, 0.5]) == [("two", 0.5, 1)]
    assert shown("one two", [-0.1, 0.0]) == [] and phrases("", np.empty((0, 2), int), []) == []
