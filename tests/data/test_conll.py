import pytest

from harken.config import ExamplesConfig
from harken.data.conll import read_conll
from harken.errors import DataError

UNIVERSAL = """# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\t_\t_\t1\tadvmod\t_\t_
2.1\tyou\tyou\tPRON\tPRP\t_\t_\t_\t_\t_
3\tgo\tgo\tVERB\tVB\t_\t1\tx\t_\t_

# text = _
1\t_\t_\tSYM\t_\t_\t0\troot\t_\t_
"""
PLAIN = """-DOCSTART- -X- O

EU NNP B-ORG
rejects VBZ O

# NN O
1 CD O
"""


def read(path, text, require_labels=True, **options):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_conll(path, ExamplesConfig(**options), require_labels)


@pytest.mark.parametrize("name", ["a.conllu", "a.conll"])
def test_universal_columns_by_default(name, tmp_path):
    table = read(tmp_path / name, UNIVERSAL)
    assert table.columns.to_pydict() == {
        "FORM": [["Do", "n't", "go"], ["_"]],
        "UPOS": [["AUX", "PART", "VERB"], ["SYM"]],
    }
    assert (table.fixed, table.labels, table.task, table.lines.tolist()) == ("words", ("UPOS",), "tag", [2, 9])


@pytest.mark.parametrize(("words", "label"), [("LEMMA", "XPOS"), ("lemma", "xpos"), ("3", "5")])
def test_universal_columns_by_name_or_number(words, label, tmp_path):
    table = read(tmp_path / "a.conllu", UNIVERSAL, words=words, label=label)
    assert table.columns.to_pydict() == {words: [["do", "not", "go"], ["_"]], label: [["VB", None, "VB"], [None]]}


def test_several_labels(tmp_path):
    table = read(tmp_path / "a.conllu", UNIVERSAL, label=("UPOS", "DEPREL"))
    assert table.labels == ("UPOS", "DEPREL")
    assert table.columns.column("DEPREL").to_pylist() == [["root", "advmod", "x"], ["root"]]


def test_plain_columns(tmp_path):
    table = read(tmp_path / "a.conll", PLAIN)
    assert table.columns.to_pydict() == {"1": [["EU", "rejects"], ["#", "1"]], "3": [["B-ORG", "O"], ["O", "O"]]}
    assert table.lines.tolist() == [3, 6]
    table = read(tmp_path / "a.conll", PLAIN.replace("\n", "\r\n"), label="2")
    assert table.columns.column("2").to_pylist() == [["NNP", "VBZ"], ["NN", "CD"]]


def test_words_alone(tmp_path):
    assert read(tmp_path / "a.conll", "EU\nrejects\n\nno\n").labels == ()
    table = read(tmp_path / "a.conll", "EU\nrejects\n", require_labels=False, words="1", label="3")
    assert table.columns.to_pydict() == {"1": [["EU", "rejects"]]}


@pytest.mark.parametrize(
    ("name", "text", "options", "complaint"),
    [
        (
            "a.conllu",
            UNIVERSAL,
            {"label": "POS"},
            "no column 'POS': columns are numbers from 1 to 10 or one of ID, FORM",
        ),
        ("a.conll", PLAIN, {"label": "UPOS"}, "no column 'UPOS': columns are numbers from 1 to 3"),
        ("a.conll", PLAIN, {"words": "0"}, "no column '0'"),
        ("a.conll", "", {}, "is empty"),
        ("a.conll", "-DOCSTART- O\n\n", {}, "is empty"),
    ],
)
def test_columns_that_are_not_there(name, text, options, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path / name, text, **options)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.conll", "a X\nb\nc Y\n\nd Z\n", "line 2: the line has 1 columns between white space, and must have 2"),
        ("a.conllu", UNIVERSAL.replace("\tx\t", "\t"), "line 6: the line has 9 columns between tabs, and must have 10"),
    ],
)
def test_bad_lines_are_named_or_their_sentence_is_skipped(name, text, complaint, tmp_path):
    with pytest.raises(DataError, match=complaint):
        read(tmp_path / name, text)
    table = read(tmp_path / name, text, skip_bad_rows=True)
    assert (table.numbers.tolist(), table.skipped) == ([1], 1)


def test_other_encodings(tmp_path):
    table = read(tmp_path / "a.conll", "café X\n".encode("latin-1"), encoding="latin-1")
    assert table.columns.column(0).to_pylist() == [["café"]]


@pytest.mark.parametrize(("part", "sentences", "words"), [("dev", 2001, 25147), ("test", 2077, 25094)])
def test_real_files(part, sentences, words, real_files):
    table = read_conll(real_files / "ud_english_ewt" / f"en_ewt-ud-{part}.conllu.gz", ExamplesConfig())
    tags = table.columns.column("UPOS").to_pylist()
    assert (len(tags), sum(map(len, tags))) == (sentences, words)
    assert len(set().union(*tags)) == 17
