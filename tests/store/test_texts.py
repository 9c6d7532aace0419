"""Texts that stay in their file."""

import pytest

from pyterrier_xetrieval.store.texts import StoredTexts, TextWriter


def test_any_text_comes_back(tmp_path):
    texts = ["one", "", 'größer\n\t"', "\ud800", "日本" * 1000]
    with open(tmp_path / "texts", "w+b") as file:
        writer = TextWriter(file)
        for text in texts:
            writer.add(text)
        read = StoredTexts(file, writer.offsets)
        assert read([4, 0, 0, 3, 1, 2]) == [texts[i] for i in (4, 0, 0, 3, 1, 2)] and read([]) == []


def test_no_texts_and_a_damaged_file(tmp_path):
    with open(tmp_path / "texts", "w+b") as file:
        writer = TextWriter(file)
        assert StoredTexts(file, writer.offsets)([]) == []
        writer.add("one")
        offsets = writer.offsets
        file.truncate(3)
        with pytest.raises(ValueError, match="texts is damaged: expected 6 bytes, found 3"):
            StoredTexts(file, offsets)
