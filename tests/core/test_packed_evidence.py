import numpy as np
import pytest

from pyterrier_xetrieval.core.evidence import WordTable
from pyterrier_xetrieval.core.packed_evidence import MAX_BYTES, pack_evidence, unpack_evidence


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
