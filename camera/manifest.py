"""Reads manifests: CSV files that name pictures and say what they show.

One reader for training and for the camera that replays. A manifest has a header with `path`, and where wanted
`label`, `defect_type`, `split` and `group`, in any order and case; other columns are ignored and named.

- Text: UTF-8 with or without a byte order mark, or UTF-16. Bytes that are not UTF-8 stay as they are.
- Cells are divided by comma, semicolon, tab or bar, whichever the header has; a first line `sep=;` is understood.
- Spaces around cells, empty rows and empty columns at the end are no data. A row with more cells than the header,
  or a column that is there twice, is refused: nobody could say which cell is meant.
- A path is relative to the manifest. It is looked for as it is written; then without the spaces around it, with
  slashes for backslashes, in the other Unicode normal forms, and as Windows-1252, whichever file is there.
"""

import csv
import io
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from camera.names import shown
from inspection.errors import DataError
from inspection.part import Label

COLUMNS = ("path", "label", "defect_type", "split", "group")

_DIVIDERS = ",;\t|"
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_UNMARKED = ((b"p\0", "utf-16-le"), (b"P\0", "utf-16-le"), (b"\0p", "utf-16-be"), (b"\0P", "utf-16-be"))
_PLAIN = re.compile(r'(?:[^\s",;|](?:[^\r\n\t\v\f",;|]*[^\s",;|])?)?')
_SEP = re.compile(r'\s*"?sep=(.)"?[,;\s]*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One picture. `name` is its path as the manifest gives it, without detours; `path` is where the file should be.

    `where` is FILE:LINE, for errors. `label` is None where the cell is empty. `more` has the cells of other columns.
    """

    where: str
    name: str
    path: Path
    label: Label | None
    defect_type: str
    split: str
    group: str
    more: dict[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """`columns` are those of the header, in lower case; `ignored` those that mean nothing here."""

    columns: frozenset[str]
    ignored: tuple[str, ...]
    rows: tuple[Row, ...]


def read_manifest(file: Path, needed: Sequence[str] = ("path",)) -> Manifest:
    """All rows of `file`, in order; whether their pictures exist is for the caller to ask.

    Raises DataError with file, line and remedy; also where a column of `needed` is missing.
    """
    text = io.StringIO(_text(file), newline="")
    divider, skipped, first = _divider(text)
    text.seek(first)
    reader = csv.reader(text, delimiter=divider, strict=True, skipinitialspace=True)
    try:
        header = [_column(cell) for cell in next(reader, [])]
        _require_columns(shown(file), header, needed, skipped + 1)
        rows = tuple(_rows(file, header, reader, skipped))
    except csv.Error as error:
        raise DataError(f"{shown(file)}:{skipped + reader.line_num}: not CSV ({error})") from error
    ignored = tuple(shown(name) for name in header if name and name not in COLUMNS)
    return Manifest(frozenset(header), ignored, rows)


def manifest_bytes(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of text, the header first, as `read_manifest` and spreadsheets read them; names come out as they went in."""
    lines = (",".join(map(_cell, row)) for row in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _cell(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _text(file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise DataError(f"{shown(file)}: not a file")
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{shown(file)}: cannot be read ({error.strerror})") from error
    coding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    coding = coding or next((name for start, name in _UNMARKED if data.startswith(start)), "utf-8")
    try:
        text = data.decode(coding, "strict" if coding.startswith("utf-16") else "surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(file)}: not readable as {coding} ({error.reason}); save it as CSV UTF-8") from error
    if "\0" in text:
        raise DataError(f"{shown(file)}: holds zero bytes, which no text has; save it as CSV UTF-8")
    return text


def _divider(text: io.StringIO) -> tuple[str, int, int]:
    """What divides the cells; how many lines stand before the header, and at which place it begins."""
    lines = place = 0
    told = None
    for line in text:
        sep = _SEP.fullmatch(line.rstrip("\r\n"))
        if sep and told is None:
            told = sep[1]
        elif line.strip(_DIVIDERS + " \r\n\ufeff"):
            for divider in told or _DIVIDERS:
                cells = next(csv.reader([line], delimiter=divider, skipinitialspace=True), [])
                if "path" in map(_column, cells):
                    return divider, lines, place
            break
        lines += 1
        place += len(line)
    return told or ",", lines, place


def _column(cell: str) -> str:
    return re.sub(r"[\s_-]+", "_", cell.strip("\ufeff \t\r\n\xa0").casefold())


def _require_columns(file: str, header: list[str], needed: Sequence[str], line: int) -> None:
    for column in needed:
        if column not in header:
            raise DataError(f"{file}:{line}: no column '{column}' in the header; {','.join(needed)} are needed")
    for column in COLUMNS:
        if header.count(column) > 1:
            raise DataError(f"{file}:{line}: the column '{column}' is there {header.count(column)} times; keep one")


def _rows(file: Path, header: list[str], reader: Iterator[list[str]], skipped: int) -> Iterator[Row]:
    line = skipped + reader.line_num  # type: ignore[attr-defined] # of a csv.reader
    for cells in reader:
        # An error names the line on which a row begins.
        begins, line = line + 1, skipped + reader.line_num  # type: ignore[attr-defined]
        where = f"{shown(file)}:{begins}"
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            raise DataError(
                f"{where}: {len(cells)} cells, and the header has {len(header)};"
                " put a cell that holds the dividing character into double quotes"
            )
        row = dict(zip(header, cells, strict=False))
        cell = row.get("path", "")
        if not cell.strip():
            raise DataError(f"{where}: the path is empty")
        name = _found(file.parent, cell)
        yield Row(
            where=where,
            name=_plain(name, file.parent),
            path=file.parent / name,
            label=_label(row.get("label", "").strip(), where),
            defect_type=row.get("defect_type", "").strip(),
            split=row.get("split", "").strip().casefold(),
            group=row.get("group", "").strip(),
            more={column: text for column, text in row.items() if column not in COLUMNS},
        )


def _label(text: str, where: str) -> Label | None:
    if not text:
        return None
    try:
        return Label(text.casefold())
    except ValueError as error:
        raise DataError(f"{where}: label '{shown(text)}' is neither ok nor ng") from error


def _found(root: Path, cell: str) -> str:
    """The path in `cell`, in the spelling that the file has; as it is written where there is none."""
    for name in _spellings(cell):
        if _is_file(root / name):
            return name
    return cell.strip()


def _spellings(cell: str) -> Iterator[str]:
    for text in (cell, cell.strip()):
        for name in (text, text.replace("\\", "/")):
            yield name
            yield unicodedata.normalize("NFC", name)
            yield unicodedata.normalize("NFD", name)
            if not name.isascii():
                windows = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace") if _escaped(name) else ""
                if windows:
                    yield windows
                    yield unicodedata.normalize("NFD", windows)


def _escaped(name: str) -> bool:
    """Bytes in `name` are not UTF-8, and nothing in it is worse."""
    return any("\udc80" <= char <= "\udcff" for char in name) and not any("\ud800" <= c < "\udc80" for c in name)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or not to be encoded
        return False


def _plain(name: str, root: Path) -> str:
    """`name` without `.` and `..`, and relative to `root` where it lies in it."""
    if name.startswith("/"):
        try:
            name = Path(name).relative_to(_absolute(root)).as_posix()
        except ValueError:
            return name
    return posixpath.normpath(name)


@lru_cache(maxsize=1)
def _absolute(root: Path) -> Path:
    return root.absolute()
