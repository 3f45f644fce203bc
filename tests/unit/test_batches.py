"""Texts as token batches: which tokens carry loss, padding, and batches under a token budget."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.models.batches import Encoded, by_length, encode, pad
from unteach.models.logprobs import IGNORE

BYTES = tiny.tokenizer()
LETTERS = tiny.byte_letters()

# Texts in which no special token is spelt out, since those would be one token.
wild = st.text(max_size=12).filter(lambda text: not any(name in text for name in tiny.SPECIAL))


@given(wild, wild)
@settings(max_examples=100, deadline=None)
def test_labels_are_exactly_the_bytes_of_the_text(context, text):
    if any(name in context + text for name in tiny.SPECIAL):
        return
    item = encode(BYTES, text, context)
    before = 1 + len(context.encode())
    assert list(item.ids) == [tiny.BOS, *tiny.ids_of(context + text)]
    assert list(item.labels) == [IGNORE] * before + tiny.ids_of(text)
    assert item.label_count == len(text.encode())


@pytest.mark.parametrize(
    ("context", "text", "labelled"),
    [
        ("Straße: ", "größer", 8),  # ö and ß take two bytes each: 6 letters, 8 bytes
        ("é", "é", 2),
        ("猫", "犬。", 6),  # three bytes a sign
        ("ok", "👍🏽", 8),  # two code points of four bytes
        ("e", "\u0301x", 3),  # a combining accent begins the text: two bytes, and one for x
        ("a\n", " b\n", 3),
    ],
)
def test_a_multi_byte_character_at_the_seam_is_labelled_whole_or_not_at_all(context, text, labelled):
    item = encode(BYTES, text, context)
    assert item.label_count == labelled
    assert BYTES.decode([label for label in item.labels if label != IGNORE]) == text


def test_a_token_across_the_seam_is_labelled():
    """ "on" is one token (259), and "n" is the text: the token reaches into it."""
    tokenizer = tiny.tokenizer([("o", "n")])
    item = encode(tokenizer, "ny", "to")
    assert item.ids == (tiny.BOS, *tiny.ids_of("t"), 259, *tiny.ids_of("y"))
    assert item.labels == (IGNORE, IGNORE, 259, *tiny.ids_of("y"))


def test_a_token_that_holds_the_first_byte_of_a_character_is_labelled():
    """ "a" and the first byte of "é" (C3) are one token, its second byte (A9) another; the text is "é"."""
    tokenizer = tiny.tokenizer([("a", LETTERS[0xC3])])
    item = encode(tokenizer, "é", "ba")
    assert item.ids == (tiny.BOS, *tiny.ids_of("b"), 259, 0xA9 + 3)
    assert item.labels == (IGNORE, IGNORE, 259, 0xA9 + 3)


def test_the_first_token_is_never_labelled():
    assert encode(BYTES, "ab").labels == (IGNORE, *tiny.ids_of("ab"))
    without_bos = tiny.tokenizer()
    without_bos.backend_tokenizer.post_processor = None
    item = encode(without_bos, "ab")
    assert item.ids == tuple(tiny.ids_of("ab"))
    assert item.labels == (IGNORE, *tiny.ids_of("b"))  # nothing predicts a first token


@pytest.mark.parametrize(("limit", "ids", "labelled"), [(1, 1, 0), (3, 3, 0), (4, 4, 1), (5, 5, 2), (99, 6, 3)])
def test_max_length_cuts_the_end(limit, ids, labelled):
    """<bos> a b | c d e: six tokens, the last three labelled."""
    item = encode(BYTES, "cde", "ab", max_length=limit)
    assert len(item.ids) == len(item.labels) == ids
    assert item.label_count == labelled
    assert item.ids == encode(BYTES, "cde", "ab").ids[:limit]


def test_pad_fills_on_the_right():
    batch = pad([Encoded((1, 5), (IGNORE, 5)), Encoded((1, 6, 7, 8), (IGNORE, IGNORE, 7, 8))], pad_id=9)
    assert batch["input_ids"].tolist() == [[1, 5, 9, 9], [1, 6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [[IGNORE, 5, IGNORE, IGNORE], [IGNORE, IGNORE, 7, 8]]
    assert all(values.dtype == torch.int64 for values in batch.values())


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_by_length_has_every_item_once_and_keeps_the_budget(lengths, budget):
    items = [Encoded((7,) * length, (7,) * length) for length in lengths]
    batches = by_length(items, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(items)))
    for batch in batches:
        size = max(lengths[index] for index in batch) * len(batch)
        assert size <= budget or len(batch) == 1  # a text longer than the budget stands alone
