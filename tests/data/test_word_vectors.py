import gzip

import pytest
import torch

from harken.data.features import Tokenizer
from harken.data.word_vectors import read_word_vectors
from harken.errors import ConfigError, DataError

TOKENIZER = Tokenizer.fit(["the The THE rose Rose naïve missing"], "word", 100, markers=False)
LINES = "the 1 2 3\nrose 0.5 -1e-1 .25\nRose 7 8 9\nnaïve 4 5 6\n. . . 1 1 1\nthe 0 0 0\nother 1 2 3\n"


def row(vectors: torch.Tensor, word: str) -> list[float]:
    return vectors[TOKENIZER.encode([word])[0].item()].tolist()


def read(path, content: str, zipped: bool = False):
    path.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    return read_word_vectors(path, TOKENIZER)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("header", ["", "7 3\n", "7 3 \n"])
def test_glove_and_word2vec(header, zipped, tmp_path):
    vectors, found = read(tmp_path / "vectors", header + LINES, zipped)
    assert vectors.shape == (TOKENIZER.vocabulary_size, 3)
    assert vectors.dtype == torch.float32
    assert found == 6
    assert row(vectors, "the") == row(vectors, "The") == row(vectors, "THE") == [1, 2, 3]  # the first line counts
    assert row(vectors, "rose") == torch.tensor([0.5, -0.1, 0.25]).tolist()
    assert row(vectors, "Rose") == [7, 8, 9]  # its own, not that of rose
    assert row(vectors, "naïve") == [4, 5, 6]
    assert vectors[0].tolist() == [0, 0, 0]


def test_words_that_the_file_lacks_are_drawn_alike_every_time(tmp_path):
    one, _ = read(tmp_path / "one", LINES)
    torch.manual_seed(7)
    other, _ = read(tmp_path / "other", LINES)
    assert torch.equal(one, other)
    assert row(one, "missing") != [0, 0, 0]
    assert one[TOKENIZER.unk_id].tolist() != row(one, "missing")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (LINES + "dog 1 2\n", "line 8: 'dog 1 2'… is not a word and 3 numbers"),
        (LINES + "\ndog 1 2 3 4\n", "line 9: 'dog 1 2 3 4'"),
        (LINES + "rose 1 2 3 4\n", "line 8: 'rose 1 2 3 4'"),
        ("the 1 2 x\n", "line 1"),
        ("the\n", "line 1"),
        ("7 3\nthe 1 2\n", "line 2"),
        ("the 1 nan 3\n", "line 1: the vector holds NaN"),
        ("der 1 2 3\n", "none of the 7 words"),
        ("", "none of the 7 words"),
    ],
)
def test_files_that_are_none(content, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path / "glove.txt", content)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_word_vectors(tmp_path / "none.txt", TOKENIZER)
    (tmp_path / "half.gz").write_bytes(gzip.compress(LINES.encode() * 100)[:60])
    with pytest.raises(DataError, match="damaged gzip"):
        read_word_vectors(tmp_path / "half.gz", TOKENIZER)


def test_tokens_that_are_no_words(tmp_path):
    with pytest.raises(ConfigError, match="tokens=byte"):
        read_word_vectors(tmp_path / "any", Tokenizer.fit(["a"], "byte", 300, markers=False))
