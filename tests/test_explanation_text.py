"""What an explanation says in words, of parts of a score that are known."""

import numpy as np
import pandas as pd
import pytest

from pyterrier_xetrieval import Explanation, FeatureLabels
from pyterrier_xetrieval.core.attribution import Attribution
from tests.helpers.builders import result_frame
from tests.helpers.cards import explained


def attribution(contributions, rest, before=None):
    n = len(contributions)
    return Attribution(
        np.array([sum(contributions) + rest]), np.array([rest]), np.zeros(1), np.zeros(1), np.array([0, n]),
        np.arange(n, dtype=np.int32), np.float32(contributions), np.ones(n, np.float32), np.ones((n, 1), np.float32), before,
    )  # fmt: skip


def pair(contributions, confidence, *, rest=0.0, before=None):
    """Features 0, 1, … called a, b, …; ``rest``: the part of the document's other features."""
    labels = FeatureLabels(pd.DataFrame({"feature": range(8), "label": list("abcdefgh"), "method": "by hand"}), 8)
    e = Explanation("q", "d", attribution(contributions, rest, before), 0, ("original",), labels, 10, 0.4)
    e._confidence = np.array(confidence)
    return e


@pytest.mark.parametrize(
    ("contributions", "confidence", "rest", "told"),
    [
        ([0.5, 0.2, 0.1], [0.9, 0.9, 0.1], 0.2, "mainly for *a* and *b*. The 2 features shown carry 70 % of the score, 1 weakly shared one 10 %."),
        ([0.2, 0.1, 0.5], [0.9, 0.9, 0.1], 0.2, "partly for *a* and *b*. The 2 features shown carry 30 % of the score, 1 weakly shared one 50 %."),
        ([0.2, 0.1], [0.9, 0.9], 0.7, "partly for *a* and *b*. The 2 features shown carry 30 % of the score; 70 % is in no shared feature."),
        ([0.5, 0.3], [0.3, 0.1], 0.2, "perhaps for *a*. The feature shown carries 50 % of the score, 1 weakly shared one 30 %."),
        ([0.6, 0.2], [0.1, 0.1], 0.2, "for features whose labels may not fit these texts. The 2 weakly shared features carry 80 % of the score."),
        # a feature that counts against the document is no reason for it
        ([0.6, -0.1], [0.9, 0.9], 0.5, "mainly for *a*. The 2 features shown carry 50 % of the score."),
        ([-0.1, 0.1], [0.9, 0.1], 1.0, "for no feature that is shown. The feature shown carries -10 % of the score, 1 weakly shared one 10 %; 100 % is in no shared feature."),
        # parts that come to more than the score
        ([1.0, 0.25], [0.9, 0.1], -0.25, "mainly for *a*. The feature shown carries 100 % of the score, 1 weakly shared one 25 %; the rest of the document counts against it, -25 %."),
        # shares of a score that is small beside its parts, or not above 0
        ([0.1, 0.5], [0.9, 0.1], -0.55, "partly for *a*. The feature shown carries 0.100 of the score, which is 0.050, 1 weakly shared one 0.500; the rest of the document counts against it, -0.550."),
        ([0.1, 0.1], [0.9, 0.1], -0.3, "mainly for *a*. The feature shown carries 0.100 of the score, which is -0.100, 1 weakly shared one 0.100."),
    ],
)  # fmt: skip
def test_the_sentence_says_how_much_is_behind_it(contributions, confidence, rest, told):
    assert pair(contributions, confidence, rest=rest).sentence() == f"Retrieved {told}"


def test_a_changed_query_names_uncertain_labels_as_such():
    before = attribution([0.1, 0.3, 0.1], 0.1)
    text = pair([0.4, 0.1, 0.1], [0.9, 0.1, 0.9], before=before).to_text()
    assert "score of 0.600, the encoder's 0.600: *a* +0.300, *b* (label uncertain) -0.200; features that it lacks -0.100." in text


def test_what_was_taken_out_of_a_query_counts_among_the_features_that_it_lacks():
    before = attribution([0.4], 0.5)
    text = pair([0.3], [0.9], rest=0.2, before=before).to_text()
    assert "score of 0.500, the encoder's 0.900: *a* -0.100; features that it lacks -0.300." in text


def test_text_that_the_encoder_did_not_read_is_told():
    cut, whole = explained(stopped_at=20), explained()
    for told in (cut.to_text(), cut.sentence()):
        assert told.endswith("The encoder did not read the last 32 characters of the document.")
    assert "did not read" not in whole.to_text() + whole.sentence()
    assert cut._repr_html_().count("did not read") == 1  # beside the text


def test_without_evidence_nobody_knows_what_was_read(model):
    e = model.explainer()(result_frame())["explanation"][0]
    assert "did not read" not in e.to_text()
