import io

import pyarrow as pa

from harken.config import DataConfig
from harken.data.rows import Row, csv_rows, json_rows, table_rows, text_rows

CONFIG = DataConfig(key="id")


def test_lines_keep_their_white_space_and_numbers():
    rows = list(text_rows(" a \tb\n\nc\td\r\n\n", "\t", CONFIG, require_target=True))
    assert rows[0] == Row("line 1", " a ", "b")
    assert rows[1].place == "line 2"
    assert "no delimiter" in rows[1].problem
    assert rows[2] == Row("line 3", "c", "d")
    assert len(rows) == 3


def test_csv_places_are_lines_of_the_file():
    text = 'id,source,target,more\n1,"a\nb",c,\n\n2,"d\n\n",e\n3,f,,g\n'
    rows = list(
        csv_rows("name", io.StringIO(text, newline=""), len(text), ",", CONFIG, require_target=True, require_key=True)
    )
    assert rows[0] == Row("line 2", "a\nb", "c", "1")
    assert (rows[1].place, rows[1].problem) == ("line 5", "the row has 3 cells, and the header has 4")
    assert rows[2] == Row("line 8", "f", "", "3")


def test_json_columns_may_come_late_and_keys_stay_numbers():
    text = '{"source": 1e3, "id": 1e3}\n{"target": false, "id": "7"}'
    rows = list(json_rows("name", text, CONFIG, require_target=True, require_key=True))
    assert rows == [Row("line 1", "1e3", None, 1000.0), Row("line 2", None, "false", "7")]


def test_table_columns_become_text_and_other_columns_do_not_matter():
    table = pa.table({"source": [1.5, None], "target": [b"x", b"y"], "id": [{"a": 1}, None], "other": [[1], None]})
    rows = list(table_rows("name", table, CONFIG, require_target=True, require_key=True))
    assert [row[1:4] for row in rows] == [("1.5", "x", {"a": 1}), (None, "y", None)]
