"""Whatever a spreadsheet exports or a file system holds is read as it was meant, or refused with the line."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camera.manifest import manifest_bytes, read_manifest
from inspection.errors import DataError
from inspection.part import Label

ROWS = [("ok/1.png", "ok", "", "g 1"), ("ng/2.png", "ng", "scratch, deep", "g 2")]
HEADER = ("path", "label", "defect_type", "group")


def table(divider: str, ends: str, rows: Sequence[Sequence[str]] = (HEADER, *ROWS)) -> str:
    cells = [[f'"{cell}"' if "," in cell or divider in cell else cell for cell in row] for row in rows]
    return "".join(divider.join(row) + ends for row in cells)


def read(folder: Path, content: bytes) -> list[tuple[str, Label | None, str, str]]:
    file = folder / "manifest.csv"
    file.write_bytes(content)
    return [(row.name, row.label, row.defect_type, row.group) for row in read_manifest(file, ("path", "label")).rows]


MEANT = [("ok/1.png", Label.OK, "", "g 1"), ("ng/2.png", Label.NG, "scratch, deep", "g 2")]


@pytest.mark.parametrize("divider", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_spreadsheets_export_reads_alike(tmp_path: Path, divider: str, ends: str, coding: str) -> None:
    assert read(tmp_path, table(divider, ends).encode(coding)) == MEANT


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\n" + table(";", "\r\n"),
        '"sep=;"\n' + table(";", "\n"),
        "\n\n" + table(",", "\n"),
        table(",", "\n", [("Path", " LABEL ", "Defect Type", "Group"), *ROWS]),
        table(", ", "\n"),
        table(" ,", "\n", [("path", "label", "defect_type", "group"), ROWS[0], ("ng/2.png", "NG", "", "g 2")]),
        table(",", ",,,\n"),
        table(",", "\n") + ",,,\n\n  \n",
        table(",", "\n", [("score", *HEADER), ("0.5", *ROWS[0]), ("0,5", *ROWS[1])]),
        table(";", "\n", [("score", *HEADER), ("0,5", *ROWS[0]), ("12%", *ROWS[1])]),
    ],
)
def test_what_people_add_to_a_table_changes_nothing(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text.encode())
    assert [row[0] for row in found] == ["ok/1.png", "ng/2.png"]
    assert [row[1] for row in found] == [Label.OK, Label.NG]
    assert [row[3] for row in found] == ["g 1", "g 2"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label,label\na.png,ok,ng\n", "manifest.csv:1: the column 'label' is there 2 times"),
        ("path,label,Label \na.png,ok,ng\n", "the column 'label' is there 2 times"),
        ("path,label\na,b.png,ok\n", "manifest.csv:2: 3 cells, and the header has 2"),
        ("path,label\n,ok\n", "manifest.csv:2: the path is empty"),
        ("\npath,label\na.png,good\n", "manifest.csv:3: label 'good' is neither ok nor ng"),
        ("path,label\na.png,ok\n\n\nb.png,bad\n", "manifest.csv:5: label 'bad'"),
        ("path,label\na\0.png,ok\n", "holds zero bytes"),
        ("file;label\na.png;ok\n", "no column 'path'"),
        ('path,label\n"a.png,ok\n', "not CSV"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text.encode())


@pytest.mark.parametrize(
    ("on_disk", "written"),
    [
        ("ok/1.png", b"ok\\1.png"),
        ("ok/1.png", b".\\ok\\1.png"),
        ("ok/1.png", b"./ok//1.png"),
        ("ok/100%.png", b"ok/100%.png"),
        ("Pr\u00fcfling.png", "Pru\u0308fling.png".encode()),
        ("Pru\u0308fling.png", "Pr\u00fcfling.png".encode()),
        ("Pr\u00fcfling.png", b"Pr\xfcfling.png"),
        ("Pr\udcfcfling.png", b"Pr\xfcfling.png"),
        ("-rf.png", b"-rf.png"),
        (" a .png", b'" a .png"'),
        ("a.png ", b"a.png "),
        ("a\nb.png", b'"a\nb.png"'),
        ('a"b.png', b'"a""b.png"'),
        ("a\u2028b.png", "a\u2028b.png".encode()),
        ("\U0001f600 \u202egnp.png", "\U0001f600 \u202egnp.png".encode()),
    ],
)
def test_a_picture_is_found_however_its_name_is_spelt(tmp_path: Path, on_disk: str, written: bytes) -> None:
    (tmp_path / "ok").mkdir()
    (tmp_path / on_disk).write_bytes(b"x")
    file = tmp_path / "manifest.csv"
    file.write_bytes(b"path,label\n" + written + b",ok\n")

    (row,) = read_manifest(file).rows

    assert row.path.is_file()
    assert row.name == on_disk


def test_an_absolute_path_in_the_folder_goes_by_its_name_there(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    file = tmp_path / "manifest.csv"
    file.write_text(f"path\n{tmp_path}/a.png\n")

    assert read_manifest(file).rows[0].name == "a.png"


names = st.binary(min_size=1, max_size=40).filter(lambda name: not set(name) & {0, 47}).map(os.fsdecode)
cells = st.text(max_size=20).filter(lambda text: "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text))


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(names, cells), max_size=5))
def test_every_name_comes_out_as_it_went_in(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("names") / "manifest.csv"
    kept = [(f"d/{name}.png", group.strip()) for name, group in rows]

    file.write_bytes(manifest_bytes([("path", "group"), *kept]))

    assert [(row.name, row.group) for row in read_manifest(file).rows] == kept


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda data: b"path,label\n" + data)))
def test_no_bytes_end_in_anything_but_rows_or_a_data_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("bytes") / "manifest.csv"
    file.write_bytes(content)
    try:
        read_manifest(file, ("path", "label"))
    except DataError as error:
        str(error).encode()
