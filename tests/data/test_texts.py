"""Columns of texts, whatever holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from harken.config import DataConfig
from harken.data.texts import check_pairs, check_texts
from harken.errors import DataError

TEN = DataConfig(max_characters=10)
COLUMNS = [
    ["a", "b"],
    ("a", "b"),
    np.array(["a", "b"]),
    pd.Series(["a", "b"], index=[7, 3]),
    pl.Series(["a", "b"]),
    pa.array(["a", "b"]),
    pa.chunked_array([["a"], ["b"]]),
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda c: type(c).__name__)
def test_a_column_is_a_list_of_texts(column: Any) -> None:
    assert check_texts("sources", column, TEN) == ["a", "b"]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("ab", "sources is one str: give a list of texts"),
        ({"a": 1}, "sources is one dict"),
        (["a", None], r"sources\[1\] is NoneType \(None\): every text must be a str"),
        (pd.Series(["a", np.nan]), r"sources\[1\] is float"),
        (["a", "b" * 11], r"sources\[1\] has 11 characters, more than max_characters \(10\)"),
    ],
)
def test_what_is_no_text_is_named(column: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_texts("sources", column, TEN)


def test_pairs_are_equally_many() -> None:
    assert check_pairs(["a"], ("b",), TEN) == (["a"], ["b"])
    with pytest.raises(DataError, match="1 sources and 2 targets"):
        check_pairs(["a"], ["b", "c"], TEN)


def test_white_space_around_a_text_is_an_option() -> None:
    assert check_texts("sources", [" a b  ", "\t"], TEN) == ["a b", ""]
    assert check_texts("sources", [" a b  "], DataConfig(strip=False)) == [" a b  "]
