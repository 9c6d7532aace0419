from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from pyterrier_xetrieval.core.evidence import WordTable
from pyterrier_xetrieval.core.packed_evidence import MAX_BYTES, _distinct, _numbers, _varints, pack_evidence, unpack_evidence


def table_of(features=96, words=180, seed=0, gap=2, **options) -> WordTable:
    """Like real ones: many features, each carried by a few words and, with either sign, a little by all others."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, words)
    starts = np.cumsum(lengths + rng.integers(1, 2 * gap, words)) - lengths
    spans = np.stack([starts, starts + lengths], axis=1).astype(np.int32)
    values = np.concatenate([0.002 * rng.normal(size=(features, words)), np.zeros((features, 4))], axis=1)
    for row in values:
        row[rng.choice(words, 6)] += rng.exponential(0.03, 6)
    return WordTable(spans, values, **options)


def test_the_strongest_words_come_back_with_their_parts():
    table = table_of(features=3, words=12)
    found = unpack_evidence(pack_evidence(table))
    assert len(found.offsets) == 4 and found.spans.dtype == np.int32 and found.stopped_at is None
    for i, row in enumerate(table.words):
        own = slice(*found.offsets[i : i + 2])
        parts = row / table.sums[i]
        expected = [w for w in np.argsort(-parts, kind="stable")[:15] if parts[w] >= max(0.01, parts.max() / 4)]
        assert found.spans[own].tolist() == table.spans[expected].tolist() and len(expected) > 0
        np.testing.assert_allclose(found.fractions[own], np.minimum(parts[expected], 2), atol=0.008)


@pytest.mark.parametrize("features, words, gap", [(96, 180, 2), (96, 30, 2), (260, 250, 2), (96, 6000, 200), (700, 200, 2)])
def test_no_document_takes_more_than_a_kilobyte(features, words, gap):
    for seed in range(5):
        packed = pack_evidence(table_of(features, words, seed, gap))
        found = unpack_evidence(packed)
        assert len(packed) <= MAX_BYTES <= 1024
        assert len(packed) > 0.9 * MAX_BYTES or len(found.spans) > 2 * features  # and what there is place for is used
        if features <= 260:
            assert (np.diff(found.offsets) > 0).all()  # every feature has its strongest word before any has a second


def test_a_byte_tells_256_words_apart_however_much_place_there_is():
    table = table_of(500, 3000, gap=200)
    found = unpack_evidence(pack_evidence(table, max_bytes=20_000))
    assert len(np.unique(found.spans[:, 0])) == 256 and len(found.spans) >= 256
    for i in np.flatnonzero(np.diff(found.offsets))[::20]:
        w = np.flatnonzero(table.spans[:, 0] == found.spans[found.offsets[i], 0])[0]
        part = table.words[i, w] / table.sums[i]
        assert found.fractions[found.offsets[i]] == pytest.approx(min(part, 2), abs=0.008)


def test_the_strongest_features_go_first_where_not_all_have_place():
    table = table_of(300, 250)
    found = unpack_evidence(pack_evidence(table, max_bytes=500))
    there = np.diff(found.offsets) > 0
    assert 0 < there.sum() < 300
    best = table.words.max(axis=1)
    assert best[there].min() >= best[~there].max() - 1e-9


def test_a_feature_that_counts_against_has_the_words_that_make_it_so():
    table = table_of(2, 10)
    table.values[1] *= -1
    found = unpack_evidence(pack_evidence(table))
    plain = unpack_evidence(pack_evidence(table_of(2, 10)))
    assert found.spans.tolist() == plain.spans.tolist() and found.fractions.tolist() == plain.fractions.tolist()


def test_only_words_worth_showing():
    table = table_of(20, 40)
    shown = np.arange(40) % 2 == 0
    found = unpack_evidence(pack_evidence(table, shown))
    assert {tuple(span) for span in found.spans.tolist()} <= {tuple(span) for span in table.spans[shown].tolist()}
    assert len(unpack_evidence(pack_evidence(table, np.zeros(40, bool))).spans) == 0


def test_where_the_encoder_stopped_is_kept_and_leave_out_is_no_sum():
    assert unpack_evidence(pack_evidence(table_of(5, 9, stopped_at=0))).stopped_at == 0
    table = table_of(5, 9, stopped_at=70_000, exact=False)
    table.values[:, -4:] = 0
    assert unpack_evidence(pack_evidence(table)).stopped_at == 70_000


def test_nothing_is_little():
    packed = pack_evidence(WordTable(np.empty((0, 2), np.int32), np.zeros((3, 4))))
    found = unpack_evidence(packed)
    assert len(packed) < 8 and found.offsets.tolist() == [0, 0, 0, 0] and found.spans.shape == (0, 2)
    assert unpack_evidence(pack_evidence(WordTable(np.empty((0, 2), np.int32), np.zeros((0, 4))))).offsets.tolist() == [0]


def test_errors():
    with pytest.raises(ValueError, match="expects 53 bytes or more for 100 features, found 20"):
        pack_evidence(table_of(100, 50), max_bytes=20)
    packed = pack_evidence(table_of(5, 9))
    for wrong in (packed[:-1], packed[:-2], packed + b"\0\0", b"", packed[:2]):
        with pytest.raises(ValueError, match="unpack_evidence expects what pack_evidence made"):
            unpack_evidence(wrong)


def by_hand(**options) -> WordTable:
    values = [[0.5, 0.25, 0.05, 0.2, 0, 0, 0], [0, 2, 0, -1, 0, 0, 0], [0.004, 0, 0, 0.996, 0, 0, 0]]
    return WordTable(np.array([[0, 3], [5, 9], [12, 14]], np.int32), np.array(values), **options)


def test_the_bytes_by_hand():
    packed = pack_evidence(by_hand(stopped_at=300))
    # 3 features, stopped at 300 (301 = 45 + 2 · 128), 2 + 1 + 0 words, 2 spans by their gaps and lengths, words and their levels
    assert list(packed) == [3, 128 + 45, 2, 2 + 16 * 1, 0, 2, 0, 3, 2, 4, 0, 128, 1, 90, 1, 255]
    found = unpack_evidence(packed)
    assert found.offsets.tolist() == [0, 2, 3, 3] and found.spans.tolist() == [[0, 3], [5, 9], [5, 9]]
    assert found.stopped_at == 300 and found.fractions.dtype == np.float32
    np.testing.assert_allclose(found.fractions, 2 * (np.array([128, 90, 255]) / 255) ** 2, rtol=1e-6)
    assert list(pack_evidence(by_hand()))[:3] == [3, 0, 18]
    with pytest.raises(FrozenInstanceError):
        found.spans = found.offsets


def test_which_words_are_worth_their_bytes():
    spans = np.stack([3 * np.arange(20), 3 * np.arange(20) + 2], axis=1)

    def words(*parts, rest=None, exact=True):
        """Of one feature whose words carry these parts of 1."""
        left = 1 - sum(parts) if rest is None else rest
        table = WordTable(spans[: len(parts)], np.array([[*parts, left, 0, 0, 0]]), exact)
        found = unpack_evidence(pack_evidence(table))
        return (found.spans[:, 0] // 3).tolist(), [round(float(part), 1) for part in found.fractions]

    assert words(0.5, 0.125, 0.12)[0] == [0, 1]  # a quarter of the strongest is enough, less is not
    assert words(0.01, 0.0025)[0] == [0] and words(0.0099)[0] == []
    assert words(*[0.05] * 20)[0] == list(range(15))  # fifteen at most, the first of equal ones
    assert words(0.1, 0.4, 0.2)[0] == [1, 2, 0]
    assert words(-0.5, 0.3)[0] == [1]
    assert words(3.0, 1.0, rest=-3.0) == ([0, 1], [2.0, 1.0])  # more than twice the feature is written as twice
    assert words(0.5, -0.5, rest=0.0)[0] == []  # of nothing there are no parts
    assert words(0.5, 0.3, rest=0.0, exact=False) == ([0, 1], [0.6, 0.4])  # leave-out: of what the words lose together
    assert words(-0.5, -0.3, rest=0.0) == ([0, 1], [0.6, 0.4])


def test_as_many_words_as_have_place():
    table = table_of(12, 30, seed=3)
    whole = pack_evidence(table)
    least = next(n for n in range(len(whole)) if not fails(table, n))
    sizes = set()
    for n in range(least, len(whole) + 3):
        packed = pack_evidence(table, max_bytes=n)
        assert len(packed) <= n and pack_evidence(table, max_bytes=len(packed)) == packed
        sizes.add((len(packed), len(unpack_evidence(packed).spans)))
    assert len(sizes) == len(unpack_evidence(whole).spans) + 1 == max(words for _, words in sizes) + 1  # no word is skipped
    assert min(sizes) == (least, 0) and pack_evidence(table, max_bytes=len(whole)) == whole


def fails(table, max_bytes):
    try:
        pack_evidence(table, max_bytes=max_bytes)
    except ValueError as error:
        return "bytes or more for 12 features, found" in str(error)
    return False


def test_numbers_of_any_size():
    numbers = [0, 1, 127, 128, 129, 255, 300, 16383, 16384, 2**31]
    data = _varints(numbers)
    assert list(_varints([300, 5])) == [172, 2, 5]
    assert len(data) == 3 * 1 + 5 * 2 + 3 + 5
    assert _numbers(np.frombuffer(data, np.uint8), 0, 10) == (numbers, len(data))
    assert _numbers(np.frombuffer(b"\7" + data, np.uint8), 1, 4) == (numbers[:4], 6)
    with pytest.raises(IndexError):
        _numbers(np.frombuffer(data, np.uint8), 0, 11)


def test_distinct_words_are_counted():
    assert _distinct(np.array([4, 4, 2, 4, 0, 2, 9])).tolist() == [1, 1, 2, 2, 3, 3, 4]
    assert _distinct(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("words", [255, 256, 257, 300])
def test_one_word_for_each_of_many_features(words):
    spans = np.stack([2 * np.arange(words), 2 * np.arange(words) + 1], axis=1)
    strength = np.linspace(2, 1, words)
    table = WordTable(spans, np.concatenate([np.diag(strength), np.zeros((words, 4))], axis=1))
    found = unpack_evidence(pack_evidence(table, max_bytes=10**6))
    kept = min(words, 256)
    assert np.diff(found.offsets).tolist() == [1] * kept + [0] * (words - kept)
    assert found.spans.tolist() == spans[:kept].tolist()
