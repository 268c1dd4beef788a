"""harken.data.unused: options that change nothing in how a file is read."""

import gzip

import numpy as np
import pytest

from harken.config import ExamplesConfig, Seq2SeqRun
from harken.data.arrays import array_names
from harken.data.unused import UNUSED, refuse_unused
from harken.errors import DataError

VALUES = {"series": ("x",), "label": ("nope",), "header": False}


@pytest.mark.parametrize(("kind", "option"), [(kind, option) for kind in UNUSED for option in UNUSED[kind]])
def test_an_option_without_a_use_is_refused_with_its_value(kind, option):
    value = VALUES.get(option, "x;")
    for name in (f"rows{kind}", f"rows{kind}.gz"):
        with pytest.raises(DataError, match=r"leave it out$") as caught:
            refuse_unused(name, {"epochs": 3, option: value})
        shown = "'nope'" if option == "label" else repr(value)
        assert str(caught.value).startswith(f"{name}: {option} ({shown}) ")
        assert f"a {kind} file" in str(caught.value)


def test_the_sentence_says_what_the_option_is_for():
    with pytest.raises(DataError) as caught:
        refuse_unused("a.ts", {"delimiter": ";"})
    assert str(caught.value) == (
        "a.ts: delimiter (';') does nothing for a .ts file: it is for CSV, TSV and text lines, so leave it out"
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("a.csv", dict.fromkeys(ExamplesConfig.model_fields, "x")),
        ("a.txt", dict.fromkeys(Seq2SeqRun().data.model_dump(), "x")),
        ("a.ts", {"encoding": "latin-1", "input": "vectors", "skip_bad_rows": True}),
        ("a.conllu", {"label": ("UPOS",), "words": "FORM", "encoding": "latin-1"}),
        ("a.jsonl", {"id": "a", "time": "b", "label": ("c",), "encoding": "latin-1"}),
        ("a.parquet", {"id": "a", "time": "b", "label": ("c",)}),
        ("missing.npz", {"label": ("c",)}),  # whoever reads it complains
    ],
)
def test_what_has_a_use_stays(name, given):
    refuse_unused(name, given)


def test_another_file_may_have_the_use():
    given = {"delimiter": ";", "label": ("kind",), "id": "who"}
    refuse_unused("a.ts", given, beside="b.csv")
    with pytest.raises(DataError, match="id"):
        refuse_unused("a.ts", given, beside="b.npz")
    for beside in ("b.ts", 0.1, None):
        with pytest.raises(DataError, match="label"):
            refuse_unused("a.ts", given, beside=beside)


@pytest.mark.parametrize("packed", [False, True])
def test_labels_and_series_of_an_npz_file_are_arrays_in_it(packed, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.ones((4, 3)), kind=[1, 2, 1, 2])
    if packed:
        path = path.with_suffix(".npz.gz")
        path.write_bytes(gzip.compress((tmp_path / "a.npz").read_bytes()))
    assert array_names(path) == ("X", "kind")
    refuse_unused(str(path), {"series": ("X",), "label": ["kind"]})
    for given, way_out in (
        ({"label": ["nope"]}, "no array 'nope', only 'X', 'kind': choose one with --label"),
        ({"label": ["kind", "kinds"]}, "no array 'kinds', only 'X', 'kind': did you mean --label kind"),
        ({"series": ["t0", "X"]}, "no array 't0', only 'X', 'kind': choose one with --series"),
    ):
        with pytest.raises(DataError, match=way_out):
            refuse_unused(str(path), given)
