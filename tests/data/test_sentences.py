import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken.data.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("No stop here", ["No stop here"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It rose 3.5 percent. Then it fell.", ["It rose 3.5 percent.", "Then it fell."]),
        ("He left... and came back. 42 people saw it.", ["He left... and came back.", "42 people saw it."]),
        ('"Stop!" he said. "Why?" She ran.', ['"Stop!" he said.', '"Why?"', "She ran."]),
        ("It ended (at last.) Nobody knew.", ["It ended (at last.)", "Nobody knew."]),
        ("Dr. Smith met J. Doe, i.e. John, in the U.S. Army.", ["Dr. Smith met J. Doe, i.e. John, in the U.S. Army."]),
        ("So did I. Then we left.", ["So did I.", "Then we left."]),
        ("Ça va. Éric vient. ¿Qué? ¡No!", ["Ça va.", "Éric vient.", "¿Qué?", "¡No!"]),
        ("a good film . not a great one ! ( yes )", ["a good film .", "not a great one !", "( yes )"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("first line\n\n  second. line \r\nthird", ["first line", "second. line", "third"]),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(st.sampled_from("aB1 .!?\"'()\n。é")))
def test_nothing_but_white_space_is_lost(text):
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


def test_a_long_text_takes_no_longer_than_its_length():
    assert len(split_sentences("Is it so? " * 50_000)) == 50_000
    assert len(split_sentences("." * 100_000 + "a")) == 1
    assert len(split_sentences("." * 100_000 + ")" * 100_000)) == 1
