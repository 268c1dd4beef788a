import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from harken.config import ExamplesConfig
from harken.data.kinds import choose_columns, infer_task, named_columns, told_task
from harken.data.tables import read_table
from harken.errors import DataError

N = 40
TEXT = [f"row {n} was quite good, I would say" for n in range(N)]
TITLES = [text[:9] for text in TEXT]
OTHER = [text[::-1] for text in TEXT]
SHORT = [f"w{n}" for n in range(N)]
CLASS = ["a", "b"] * (N // 2)
NUMBER = list(range(N))
VALUE = [n * 1.7 for n in range(N)]
SERIES = [[0.5 * n, 1.0] for n in range(N)]
IDS = [[n, 1] for n in range(N)]
CHANNELS = [[[0.5, 1.0], [2.0, n]] for n in range(N)]
VECTORS = [[[0.5] * 40, [2.0] * 40] for _ in range(N)]
WORDS = [["the", "cat", "sat"]] * N
TAGS = [["D", "N", "V"]] * N
SENTENCES = [["the cat sat.", "it was a cat."]] * N
DATES = [f"2020-01-{n % 28 + 1:02}" for n in range(N)]

TOLD = [  # columns, kind, the options that name the input, labels, task
    ({"text": TEXT, "label": CLASS}, "text", {"text": "text"}, ("label",), "classify"),
    ({"review": TEXT, "stars": NUMBER}, "text", {"text": "review"}, ("stars",), "regress"),
    ({"id": NUMBER, "body": TEXT, "date": DATES, "kind": CLASS}, "text", {"text": "body"}, ("kind",), "classify"),
    ({"name": SHORT, "country": CLASS}, "text", {"text": "name"}, ("country",), "classify"),
    ({"title": SHORT, "body": TEXT, "Category": CLASS}, "text", {"text": "body"}, ("Category",), "classify"),
    ({"title": TITLES, "html": [t * 9 for t in TEXT], "y": CLASS}, "text", {"text": "html"}, ("y",), "classify"),
    ({"text": TEXT, "other": OTHER, "class": CLASS}, "text", {"text": "text"}, ("class",), "classify"),
    ({"text": TEXT, "price": VALUE}, "text", {"text": "text"}, ("price",), "regress"),
    ({"text": CLASS, "label": CLASS[::-1]}, "text", {"text": "text"}, ("label",), "classify"),
    ({"events": IDS, "label": CLASS}, "ids", {"series": ("events",)}, ("label",), "classify"),
    ({"steps": SERIES, "y": VALUE}, "series", {"series": ("steps",)}, ("y",), "regress"),
    ({"x": SERIES, "y": CLASS}, "series", {"series": ("x",)}, ("y",), "classify"),
    ({"x": SERIES, "y": SERIES, "who": CLASS}, "series", {"series": ("x", "y")}, ("who",), "classify"),
    ({"s": [[-n, 3] for n in range(N)], "label": CLASS}, "series", {"series": ("s",)}, ("label",), "classify"),
    ({"s": CHANNELS, "label": CLASS}, "series", {"series": ("s",)}, ("label",), "classify"),
    ({"chunks": VECTORS, "label": CLASS}, "vectors", {"vectors": "chunks"}, ("label",), "classify"),
    ({"tokens": WORDS, "tags": TAGS}, "words", {"words": "tokens"}, ("tags",), "tag"),
    ({"tokens": WORDS, "labels": [["x"], []] * (N // 2)}, "words", {"words": "tokens"}, ("labels",), "classify"),
    ({"tokens": WORDS, "label": CLASS}, "words", {"words": "tokens"}, ("label",), "classify"),
    ({"doc": SENTENCES, "label": CLASS}, "sentences", {"text": "doc"}, ("label",), "classify"),
    ({"id": [n // 4 for n in range(N)], "time": NUMBER, "v": VALUE, "label": [str(n // 8) for n in range(N)]},
     "series", {"series": ("v",), "id": "id", "time": "time"}, ("label",), "classify"),
    ({"id": NUMBER, "a": VALUE, "b": VALUE, "who": CLASS}, "series", {"series": ("a", "b")}, ("who",), "classify"),
    ({"x": VALUE, "y": VALUE, "who": CLASS}, "series", {"series": ("x", "y")}, ("who",), "classify"),
]  # fmt: skip


def chosen(source, task=None, require_labels=True, **options):
    config = ExamplesConfig(**options)
    table = read_table(source, config)
    return table, choose_columns(table, config, task, require_labels=require_labels)


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(("columns", "kind", "named", "labels", "task"), TOLD)
def test_kind_columns_and_task_are_told_from_columns(columns, kind, named, labels, task, make):
    if make is pd.DataFrame and kind in ("series", "vectors") and isinstance(next(iter(columns.values()))[0], list):
        columns = {name: list(cells) for name, cells in columns.items()}
    table, choice = chosen(make(columns))
    found = choice.config.model_dump(exclude_defaults=True)
    assert found == {"input": kind, "label": labels, **named}
    assert told_task(table, choice.config, choice.config.label) == task
    assert choice.described[0].startswith(f"input: {kind}, ")
    assert choice.described[1] == f"label: column {labels[0]!r}"
    assert infer_task(make(columns), {}) == task
    again = choose_columns(table, choice.config, None)
    assert again.config == choice.config, "what was told is told again"


FLAT = [case for case in TOLD if not any(isinstance(cells[0], list) for cells in case[0].values())]


@pytest.mark.parametrize(("columns", "kind", "named", "labels", "task"), FLAT)
def test_the_same_from_a_file_where_everything_is_written(columns, kind, named, labels, task, tmp_path):
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    table, choice = chosen(tmp_path / "a.csv")
    assert choice.config.model_dump(exclude_defaults=True) == {"input": kind, "label": labels, **named}
    assert told_task(table, choice.config, choice.config.label) == task


def test_columns_that_are_not_used_are_named():
    _, choice = chosen({"id": NUMBER, "text": TEXT, "when": [datetime.date(2020, 1, 1)] * N, "label": CLASS})
    assert choice.described == ("input: text, column 'text'", "label: column 'label'", "not used: columns 'id', 'when'")


DOUBTS = [
    ({"a": TEXT, "b": OTHER, "label": CLASS}, "the input could be each of .*'a', 'b'.* --text a"),
    ({"text": TEXT, "v": SERIES, "label": CLASS}, "the input could be each of the columns 'v', 'text'"),
    ({"p": WORDS, "q": TAGS}, "the input could be each of the columns 'p', 'q': choose one, as with --words p"),
    ({"text": TEXT, "label": CLASS, "class": CLASS}, "the label could be each of the columns 'label', 'class'"),
    ({"text": TEXT, "p": CLASS, "q": CLASS}, "the label could be each of the columns 'p', 'q': .* --label p"),
    ({"text": TEXT}, "no column that could be the label, only 'text': name it with --label"),
    ({"a": VALUE, "b": VALUE, "c": VALUE}, "no column that could be the label"),
    ({"n": NUMBER, "label": CLASS}, "no column that could be the input, only 'n', 'label': name it with --text, --ser"),
    ({"day": DATES, "label": CLASS}, "no column that could be the input"),
]


DOUBTS += [
    ({"text": NUMBER, "label": CLASS}, "or --words; column 'text' holds numbers, and --text text reads them as texts$"),
    ({"day": DATES, "label": CLASS}, "--words$"),
    ({"id": NUMBER, "label": CLASS}, "--words$"),
]


@pytest.mark.parametrize(("columns", "complaint"), DOUBTS)
def test_what_is_in_doubt_is_asked_for(columns, complaint):
    with pytest.raises(DataError, match=complaint):
        chosen(columns)


def test_numbers_are_offered_as_texts_only_where_texts_will_do():
    columns = {"x": NUMBER, "text": VALUE, "label": CLASS}
    with pytest.raises(DataError, match=r"columns 'x', 'text' hold numbers, and --text text reads them as texts$"):
        chosen(columns, input="text")
    assert chosen(columns, input="text", text="text")[1].config.text == "text"
    with pytest.raises(DataError, match=r": name it with --series$"):
        chosen({"x": NUMBER, "label": CLASS}, input="series")


def test_without_labels_none_are_asked_for():
    for columns in (
        {"text": TEXT},
        {"text": TEXT, "p": CLASS, "q": CLASS},
        {"text": TEXT, "label": CLASS, "class": CLASS},
    ):
        _, choice = chosen(columns, require_labels=False)
        assert (choice.config.text, choice.config.label) == ("text", ())


def test_what_the_user_says_stays():
    columns = {"text": NUMBER, "q": CLASS, "p": CLASS, "steps": IDS}
    _, choice = chosen(columns, text="text", label="p")
    assert (choice.config.input, choice.config.text, choice.config.label) == ("text", "text", ("p",))
    assert chosen(columns, series="steps", label="p")[1].config.input == "series"
    assert chosen(columns, series="steps", label="p", input="ids")[1].config.input == "ids"
    assert chosen(columns, vectors="steps", label="p")[1].config.input == "vectors"
    assert chosen({"text": TEXT, "label": CLASS}, input="sentences")[1].config.text == "text"
    assert chosen({"text": TEXT, "label": TEXT}, "tag")[1].config.words == "text"
    assert chosen({"t": TEXT, "v": SERIES, "label": CLASS}, input="series")[1].config.series == ("v",)
    assert chosen({"t": TEXT, "v": SERIES, "label": CLASS}, input="text")[1].config.text == "t"
    assert chosen({"who": CLASS, "n": NUMBER, "v": VALUE, "label": CLASS}, id="who")[1].config.series == ("n", "v")
    with pytest.raises(DataError, match=r"input \('series'\) cannot be read from the column that --text names"):
        chosen(columns, text="text", label="p", input="series")
    with pytest.raises(DataError, match="no columns of numbers beside the id"):
        chosen({"who": CLASS, "label": CLASS}, id="who")


def test_a_series_keeps_its_columns_with_bad_cells(tmp_path):
    cells = [["1", "2", "x"], ["3", "", "y"], ["?", "5", "x"], ["6", "7", "y"]]
    pd.DataFrame(cells, columns=["a", "b", "label"]).to_csv(tmp_path / "a.csv", index=False)
    assert chosen(tmp_path / "a.csv")[1].config.series == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([0.5, 1.5] * 20, "classify"),
        ([n / 2 for n in range(10)] * 4, "classify"),
        (VALUE, "regress"),
        ([n % 20 for n in range(N)], "classify"),
        ([n % 2 for n in range(N)], "classify"),
        (["1.50", "x"] * 20, "classify"),
        ([[1.5, 2.5]] * N, "regress"),
        ([[1, 2]] * N, "classify"),
        ([None] * 3 + VALUE[3:], "regress"),
    ],
)
def test_the_task_is_told_from_labels(labels, task):
    assert infer_task({"text": TEXT, "label": labels}, {}) == task


def test_several_labels_are_values_if_all_are():
    columns = {"text": TEXT, "p": VALUE, "q": VALUE, "r": CLASS}
    assert infer_task(columns, {"label": ("p", "q")}) == "regress"
    assert infer_task(columns, {"label": ("p", "r")}) == "classify"
    assert infer_task(columns, {"label": "p", "label_delimiter": "|"}) == "classify"


def test_the_task_is_told_from_options_and_files(tmp_path):
    pairs = tmp_path / "a.csv"
    pairs.write_text("source,target,label\na b,b a,x\nc d,d c,y\n")
    lines = tmp_path / "a.txt"
    lines.write_text("good film\tx\nbad film\ty\n")
    assert infer_task(pairs, {}) == infer_task(lines, {}) == infer_task(str(lines), {"epochs": 3}) == "seq2seq"
    assert infer_task(tmp_path / "missing.csv", {"source": "a"}) == "seq2seq"
    assert infer_task(pairs, {"text": "source", "label": "label"}) == "classify"
    assert infer_task(lines, {"text": "1", "label": "2"}) == "classify"
    conll = tmp_path / "a.conll"
    conll.write_text("EU X\nno Y\n")
    assert infer_task(conll, {}) == "tag"
    series = tmp_path / "a.ts"
    series.write_text("@targetlabel true\n@data\n1,2:1\n3,4:2\n")
    assert infer_task(series, {}) == "regress"
    series.write_text("@classLabel true 1 2\n@data\n1,2:1\n3,4:2\n")
    assert infer_task(series, {}) == "classify"
    with pytest.raises(DataError, match="holds series, and input=text cannot be read from it"):
        chosen(series, input="text")
    with pytest.raises(DataError, match="holds words, and input=series cannot be read"):
        chosen(conll, input="series")
    with pytest.raises(DataError, match=r"holds series, and text \('review'\) names nothing in it: leave it out"):
        chosen(series, text="review")
    with pytest.raises(DataError, match=r"holds words, and series \(\('x',\)\) names nothing in it"):
        chosen(conll, series="x")
    with pytest.raises(DataError, match=r"holds words, and text \('FORM'\) names nothing in it"):
        chosen(conll, text="FORM")


def test_texts_of_an_npz_file_go_by_their_arrays_name(tmp_path):
    np.savez(tmp_path / "a.npz", review=np.array(["good", "bad"]), y=np.array([1, 2]))
    assert chosen(tmp_path / "a.npz", text="review")[1].config.input == "text"
    with pytest.raises(DataError, match=r"holds text, and words \('review'\) names nothing in it"):
        choose_columns(
            read_table(tmp_path / "a.npz", ExamplesConfig(text="review")), ExamplesConfig(words="review"), None
        )


def test_columns_of_formats_that_have_none_are_not_filled_in(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((4, 3)), y=[1, 2, 1, 2])
    _, choice = chosen(path)
    assert choice.config == ExamplesConfig(input="series")
    assert choice.described == ("input: series", "label: as the file has it")
    np.savez(path, X=np.ones((4, 3)), p=[1, 2, 1, 2], q=[1, 2, 1, 2])
    assert chosen(path, label=("p", "q"))[1].described[1] == "label: 'p', 'q', as the file has it"
    conll = tmp_path / "a.conll"
    conll.write_text("EU X\nno Y\n")
    _, choice = chosen(conll)
    assert choice.config == ExamplesConfig(input="words", words="1", label="2")
    assert choice.described[1] == "label: '2', as the file has it"


@pytest.mark.parametrize(
    ("typed", "task"),
    [
        ({}, "seq2seq"),
        ({"bptt": 20}, "language-model"),
        ({"max_tokens": 20, "temperature": 0.5}, "language-model"),
        ({"tokens": "byte"}, "language-model"),
        ({"encoding": "latin-1", "epochs": 3}, "language-model"),
        ({"temperature": 0.5}, "seq2seq"),
        ({"delimiter": ";"}, "seq2seq"),
        ({"decoder": "beam"}, "seq2seq"),
    ],
)
def test_plain_text_is_pairs_unless_an_option_says_that_it_is_running_text(tmp_path, typed, task):
    (tmp_path / "book.txt.gz").touch()
    assert infer_task(str(tmp_path / "book.txt.gz"), {"train": "book.txt.gz", **typed}) == task


def test_a_folder_of_texts_needs_an_option_of_language_models(tmp_path):
    (tmp_path / "a.txt").write_text("once upon a time")
    assert infer_task(tmp_path, {"memory_length": 3}) == "language-model"
    with pytest.raises(DataError, match="holds text, and no table: --task language-model learns to write on"):
        infer_task(tmp_path, {})


def test_an_option_that_tables_have_too_decides_nothing_of_a_table(tmp_path):
    pd.DataFrame({"review": TEXT, "stars": CLASS}).to_csv(tmp_path / "a.csv", index=False)
    assert infer_task(tmp_path / "a.csv", {"tokens": "byte"}) == "classify"
    assert infer_task(tmp_path / "a.csv", {"tied": False}) == "language-model"


def test_long_form_that_is_read_as_wide_is_hinted_at(tmp_path):
    columns = {"id": [n // 4 for n in range(N)], "time": NUMBER, "v": VALUE, "w": VALUE, "label": CLASS}
    pd.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False)
    hint = "read in wide form, a series in every row: if a row is one step, --id id --time time gathers the rows"
    for given in ({"series": ("v", "w")}, {"series": ("v", "w"), "label": "label"}):
        config = ExamplesConfig(**given)
        table = read_table(tmp_path / "a.csv", config, named_columns(config))
        described = choose_columns(table, config, "classify").described
        assert any(sentence.startswith(hint) for sentence in described)
    without = [
        ({**columns, "id": NUMBER}, {"series": ("v", "w")}),
        (columns, {"series": ("v", "w"), "id": "id", "time": "time"}),
        ({**columns, "v": SERIES}, {"series": "v"}),
        ({**columns, "t": TEXT}, {"text": "t"}),
        ({name: columns[name] for name in ("id", "v", "w", "label")}, {"series": ("v", "w")}),
    ]
    for given, options in without:
        assert not any("--id" in sentence for sentence in chosen(given, label="label", **options)[1].described)


# Rows in files of their own

PICTURES, CLIPS = [f"a/{n}.jpg" for n in range(N)], [f"a/{n}.wav" for n in range(N)]
FRAMES = [[[0.5 * n] * 8, [1.0] * 8] for n in range(N)]


@pytest.mark.parametrize(
    ("columns", "options", "kind", "named", "labels"),
    [
        ({"file": PICTURES, "color": CLASS}, {}, "image", {"image": "file", "key": "file"}, ("color",)),
        ({"n": NUMBER, "clip": CLIPS, "label": CLASS}, {}, "audio", {"audio": "clip", "key": "clip"}, ("label",)),
        ({"s": [p[:-3] + "npy" for p in PICTURES], "y": VALUE}, {}, "spectrogram", {"audio": "s"}, ("y",)),
        ({"a": PICTURES, "b": PICTURES, "y": CLASS}, {"image": "b"}, "image", {"image": "b", "key": "b"}, ("y",)),
        ({"id": SHORT, "a": PICTURES, "y": CLASS}, {"key": "id"}, "image", {"image": "a", "key": "id"}, ("y",)),
        ({"note": TEXT, "a": PICTURES, "y": CLASS}, {}, "image", {"image": "a"}, ("y",)),
        ({"note": TEXT, "a": PICTURES, "y": CLASS}, {"input": "text"}, "text", {"text": "note"}, ("y",)),
        ({"s": FRAMES, "y": CLASS}, {"input": "spectrogram"}, "spectrogram", {"series": ("s",)}, ("y",)),
        ({"s": FRAMES, "y": CLASS}, {"input": "spectrogram", "series": ("s",)}, "spectrogram", {}, ("y",)),
        ({"s": SHORT, "y": CLASS}, {"audio": "s", "input": "spectrogram"}, "spectrogram", {"audio": "s"}, ("y",)),
        ({"s": SHORT, "y": CLASS}, {"audio": "s"}, "audio", {"audio": "s"}, ("y",)),
    ],
)
def test_columns_of_paths(columns, options, kind, named, labels):
    config = chosen(columns, **options)[1].config
    assert (config.input, config.label) == (kind, labels)
    assert {name: getattr(config, name) for name in named} == named


@pytest.mark.parametrize(
    ("columns", "options", "complaint"),
    [
        ({"a": PICTURES, "b": CLIPS, "y": CLASS}, {}, "the input could be each of the columns 'a', 'b': .*--image a"),
        ({"a": PICTURES, "y": CLASS}, {"image": "a", "input": "audio"}, "that --image names: that is image$"),
        ({"a": CLIPS, "y": CLASS}, {"audio": "a", "input": "text"}, "names: that is audio or spectrogram$"),
        ({"s": TEXT, "y": CLASS}, {"input": "audio"}, "no column of paths of audio files, .*--audio"),
        ({"s": NUMBER, "t": NUMBER, "y": CLASS}, {"input": "spectrogram"}, "no column of paths of spectrogram files"),
    ],
)
def test_columns_of_paths_in_doubt(columns, options, complaint):
    with pytest.raises(DataError, match=complaint):
        chosen(columns, **options)


def test_a_folder_without_classes_is_told_how_to_have_some(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="put the files of each class into a folder of their own"):
        chosen(tmp_path)
    assert chosen(tmp_path, require_labels=False)[1].config.image == "path"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.jpg").write_bytes(b"")
    assert infer_task(tmp_path, {}) == "classify"
