"""Files and tables opened: bytes, text, CSV cells, Arrow columns. Every complaint names the file and the line."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from harken.errors import ConfigError, DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

CSV_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20  # bytes that are decoded at once where not all are


def suffix(path: Path) -> str:
    """What decides how a file is read: its suffix in small letters, ``.gz`` aside."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def as_delimiter(typed: str | None, default: str) -> str:
    """The delimiter; shells hand over ``--delimiter '\\t'`` as two characters."""
    return (typed or default).replace("\\t", "\t")


def one_line(error: Exception) -> str:
    """The first line of somebody else's complaint."""
    return str(error).strip().split("\n")[0]


# Bytes and text


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unzipped."""
    with _complaining(path):
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content


def _byte_blocks(path: Path) -> Iterator[bytes]:
    """What `read_bytes` gives, a megabyte at a time."""
    with _complaining(path), path.open("rb") as file:
        zipped = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        content = gzip.GzipFile(fileobj=file) if zipped else file
        while block := content.read(_BLOCK):
            yield block


@contextlib.contextmanager
def _complaining(path: Path) -> Iterator[None]:
    """Says what is wrong with a file."""
    if not path.exists():
        raise DataError(f"{path} does not exist: check the name and the folder")
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file in it")
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is a damaged gzip file: fetch or pack it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def read_text(path: Path, encoding: str | None = None) -> str:
    """A whole text file.

    Args:
        path: plain or gzipped.
        encoding: None: UTF-8, and no option could say otherwise.
    """
    content, codec = _text_bytes(path, encoding)
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        _refuse_bytes(path, error, encoding)


def text_blocks(path: Path, encoding: str | None = None) -> Iterator[str]:
    """What `read_text` gives, a block at a time, with a line feed for every end of a line.

    Never more than a few megabytes are in memory. A line ends as in `read_lines`.
    """
    codec = _codec(encoding)
    decoder = codecs.getincrementaldecoder(codec)()
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    lines = 0
    for number, block in enumerate(chain(_byte_blocks(path), [b""])):  # nothing: the end
        _refuse_no_text(path, block, codec, encoding, begins=number == 0)
        try:
            text = newlines.decode(decoder.decode(block, final=not block), final=not block)
        except UnicodeDecodeError as error:
            _refuse_bytes(path, error, encoding, lines)
        lines += block.count(b"\n")
        if text:
            yield text


def read_lines(path: Path, encoding: str | None = None) -> tuple[Iterator[str], int]:
    """A text file's lines with their ends, decoded as they are asked for, and the file's size in bytes.

    A line ends as CSV has it: with a line feed, a carriage return or both; a form feed or U+2028 ends none.
    """
    content, codec = _text_bytes(path, encoding)

    def lines() -> Iterator[str]:
        try:
            yield from io.TextIOWrapper(io.BytesIO(content), codec, newline="")
        except UnicodeDecodeError:
            read_text(path, encoding)  # complains of the line, which only the whole file tells

    return lines(), len(content)


def _text_bytes(path: Path, encoding: str | None) -> tuple[bytes, str]:
    """The bytes, and the codec that reads them; files that are no text are refused."""
    codec = _codec(encoding)
    content = read_bytes(path)
    _refuse_no_text(path, content, codec, encoding)
    return content, codec


def _codec(encoding: str | None) -> str:
    try:
        codec = codecs.lookup(encoding or "utf-8").name
        "".encode(codec)  # refuses codecs between bytes and bytes
    except LookupError:
        raise ConfigError(f"encoding ({encoding!r}) is not known: such as utf-8, latin-1, cp1252 or utf-16") from None
    return "utf-8-sig" if codec == "utf-8" else codec


def _refuse_no_text(path: Path, content: bytes, codec: str, encoding: str | None, begins: bool = True) -> None:
    """Complain of a file with such bytes in it, or at its beginning."""
    if codec.startswith(("utf-16", "utf-32")):
        return
    if begins and content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16: save it as UTF-8" + (" or say --encoding utf-16" if encoding else ""))
    if b"\0" in content:
        raise DataError(f"{path} is a binary file: give text lines, CSV, TSV, JSON Lines or Parquet")


def _refuse_bytes(path: Path, error: UnicodeDecodeError, encoding: str | None, before: int = 0) -> NoReturn:
    """Complain of a byte; so many lines lie before those that were to be decoded."""
    line, byte = before + error.object.count(b"\n", 0, error.start) + 1, error.object[error.start]
    codec = "UTF-8" if codecs.lookup(encoding or "utf-8").name == "utf-8" else encoding
    way_out = ", or say what it is, such as --encoding latin-1" if encoding else ""
    raise DataError(
        f"{path}, line {line}: byte 0x{byte:02x} is not {codec}; "
        f"convert the file, as with iconv -f latin1 -t utf-8{way_out}"
    ) from None


# CSV


def csv_records(name: str, lines: Iterable[str], size: int, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """The records of a CSV file, the header too: the line a record begins at, and its cells or what is wrong with it.

    Args:
        name: the file, for complaints.
        lines: with their ends; quoted cells may hold delimiters and line ends.
        size: no cell is longer; limits of length are others' business.
        delimiter: one character.

    Raises:
        ConfigError: a delimiter that CSV cannot have.
        DataError: a quote after which nobody can say where a row begins.
    """
    if len(delimiter) != 1:
        raise ConfigError(f"delimiter ({delimiter!r}) must be one character for CSV and TSV files")
    csv.field_size_limit(max(csv.field_size_limit(), size))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    heads = True  # nothing but blank lines so far
    while True:
        first = reader.line_num + 1  # where the row begins; line_num is where it ends
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if heads or reader.line_num > first or str(error) == "unexpected end of data":
                raise DataError(  # not for skip_bad_rows: this row may have swallowed any number of good ones
                    f"{name}, line {first}: a quote that is opened in this row is not closed as CSV wants it "
                    f"({error}); close it, or write a quote that belongs to a text twice, and put that text in quotes"
                ) from None
            yield first, f"not valid CSV: {error}"
            continue
        if cells:  # else a blank line
            heads = False
            yield first, cells


# Arrow


def arrow_table(source: object) -> pa.Table:
    """A data frame, an Arrow table or a dict of columns as an Arrow table."""
    import pyarrow as pa

    is_table = hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")
    if not is_table and not isinstance(source, Mapping):
        raise UsageError(
            f"a {type(source).__name__} is neither a path nor a table: give a file, a data frame or a dict of columns"
        )
    try:
        if is_table:
            return pa.table(source)
        columns = dict(source)  # type: ignore[call-overload]
        streams = {name: pa.chunked_array(c) for name, c in columns.items() if hasattr(c, "__arrow_c_stream__")}
        return pa.table(columns | streams)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"the table cannot be read: {one_line(error)}") from None


def read_parquet(path: Path, columns: Collection[str] | None = None) -> tuple[pa.Table, list[str]]:
    """A Parquet file, or only those of ``columns`` that it has; and the names of all its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_bytes(path)
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        there = file.schema_arrow.names
        table = file.read(None if columns is None else [name for name in there if name in columns])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # OSError: pages that do not unpack
        raise DataError(f"{path} is damaged or not a Parquet file: {one_line(error)}") from None
    pa.default_memory_pool().release_unused()  # else the unpacked pages stay: as much again as the table
    return table, there


def texts(name: str, column: str, cells: pa.ChunkedArray) -> list[str | None]:
    """A column of whatever type as its texts; null is None.

    Raises:
        DataError: a type that has no text, or bytes that are not UTF-8.
    """
    import pyarrow as pa

    categorical = pa.types.is_dictionary(cells.type)
    kind = cells.type.value_type if categorical else cells.type
    try:
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
            cells = (cells.cast(kind) if categorical else cells).cast(pa.large_string())
        return cells.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: column {column!r} holds bytes that are not UTF-8 ({error.reason})") from None
    except pa.ArrowException:
        raise DataError(f"{name}: column {column!r} holds {cells.type}, which is not text") from None
