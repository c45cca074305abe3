"""Parts on disk, and the tables made of them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eightfold.errors import DataError, ModelError, OutputError
from eightfold.prediction.array_file import ArrayFile, write_arrays
from eightfold.prediction.columns import Table
from eightfold.prediction.job import Call, Job
from eightfold.prediction.npz_file import write_npz
from eightfold.prediction.parquet_file import write_parquet
from eightfold.prediction.parts import Part, Skipped, has_part, read_part, write_part


def table(folder: Path, *parts: Part, rows: int, skip_errors: bool = False) -> Table:
    """A table of shards of two rows."""
    job = Job(Call("/model"), 2, rows, 2, "/listing.json", skip_errors=skip_errors)
    for shard, part in zip(job.shards, parts, strict=True):
        write_part(folder, shard, part)
    return Table(job, folder)


def texts(*values: Any) -> np.ndarray:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def from_npz(made: Table, path: Path) -> dict[str, Any]:
    write_npz(made, path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def from_parquet(made: Table, path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(made, path)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_texts_are_kept_without_pickles(values: list[bytes]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        write_arrays(path, {"a": texts(*values), "b": np.arange(3)}, {"why": [1]})
        file = ArrayFile(path)
        assert file["a"].tolist() == values
        assert file["b"].tolist() == [0, 1, 2]
        assert (dict(file).keys(), file.about) == ({"a", "b"}, {"why": [1]})
        assert file.form("a") == (np.dtype(object), (len(values),))


def test_a_part_is_as_it_was_written(tmp_path: Path) -> None:
    shard = Job(Call("/model"), 2, 2, 2, "/l").shards[0]
    part = Part(
        {"a": np.array([[1.5, np.nan], [0, 2]]), "t/u": texts("é", b"\xff\x00")},
        (Skipped(1, "the picture ü cannot be read"),),
    )
    assert not has_part(tmp_path, shard)
    write_part(tmp_path, shard, part)
    assert has_part(tmp_path, shard)
    found, skipped = read_part(tmp_path, shard)
    assert skipped == part.skipped
    np.testing.assert_array_equal(found["a"], part.columns["a"])
    assert found["t/u"].tolist() == ["é".encode(), b"\xff\x00"]
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000"]


@pytest.mark.parametrize("content", [b"", b"PK??", b"\x02" + bytes(7) + b"{}", b"\xff" * 20])
def test_a_part_that_is_damaged_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-000000").write_bytes(content)
    with pytest.raises(DataError, match=r"part-000000 is damaged or missing.*start anew with --overwrite"):
        read_part(tmp_path, Job(Call("/model"), 2, 2, 2, "/l").shards[0])


def test_a_part_that_is_cut_off_is_named(tmp_path: Path) -> None:
    shard = Job(Call("/model"), 2, 2, 2, "/l").shards[0]
    write_part(tmp_path, shard, Part({"a": np.zeros((2, 100))}))
    (tmp_path / "part-000000").write_bytes((tmp_path / "part-000000").read_bytes()[:-8])
    file, _ = read_part(tmp_path, shard)
    with pytest.raises(DataError, match="part-000000 is damaged or missing"):
        file["a"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        write_arrays(tmp_path / "part", {"a": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_part(tmp_path / "gone", Job(Call("/model"), 2, 2, 2, "/l").shards[0], Part({"a": np.zeros(2)}))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
def test_numbers_of_any_rank(tmp_path: Path, dtype: str) -> None:
    values = np.arange(3 * 2 * 2).reshape(3, 2, 2).astype(dtype)
    columns = {"scalar": values[:, 0, 0], "vector": values[:, 0], "matrix": values}
    first, second = ({name: a[span] for name, a in columns.items()} for span in (slice(0, 2), slice(2, 3)))
    made = table(tmp_path, Part(first), Part(second), rows=3)
    arrays = from_npz(made, tmp_path / "t.npz")
    rows = from_parquet(made, tmp_path / "t.parquet")
    for name, whole in columns.items():
        assert arrays[name].dtype == dtype
        np.testing.assert_array_equal(arrays[name], whole)
        assert [row[name] for row in rows] == whole.tolist()


def test_texts_of_any_length(tmp_path: Path) -> None:
    made = table(
        tmp_path,
        Part({"name": texts("a", "äöü"), "raw": texts(b"\xff", b"")}),
        Part({"name": texts("longer"), "raw": texts(b"plain")}),
        rows=3,
    )
    arrays = from_npz(made, tmp_path / "t.npz")
    assert arrays["name"].tolist() == ["a", "äöü", "longer"]
    assert arrays["raw"].tolist() == [b"\xff", b"", b"plain"]
    rows = from_parquet(made, tmp_path / "t.parquet")
    assert rows[1:] == [{"name": "äöü", "raw": b""}, {"name": "longer", "raw": b"plain"}]
    assert {column.name: str(column) for column in made.columns} == {"name": "text", "raw": "text"}


def test_skipped_rows_are_null(tmp_path: Path) -> None:
    full = Part({"v": np.ones((2, 2), np.float32), "n": np.array([4, 5]), "t": texts("a", "b")})
    half = Part(
        {"v": np.array([[0, 0], [3, 4]], np.float32), "n": np.array([0, 7]), "t": texts(b"", "d")}, (Skipped(2, "bad"),)
    )
    none = Part({}, (Skipped(4, "worse"),))
    made = table(tmp_path, full, half, none, rows=5, skip_errors=True)
    empty = {"v": None, "n": None, "t": None}
    assert from_parquet(made, tmp_path / "t.parquet") == [
        {"v": [1, 1], "n": 4, "t": "a", "error": None},
        {"v": [1, 1], "n": 5, "t": "b", "error": None},
        {**empty, "error": "bad"},
        {"v": [3, 4], "n": 7, "t": "d", "error": None},
        {**empty, "error": "worse"},
    ]
    arrays = from_npz(made, tmp_path / "t.npz")
    assert arrays["error"].tolist() == ["", "", "bad", "", "worse"]
    assert np.isnan(arrays["v"][[2, 4]]).all()
    assert arrays["n"].tolist() == [4, 5, 0, 7, 0]
    assert made.skipped == (Skipped(2, "bad"), Skipped(4, "worse"))


def test_what_the_data_says_of_skipped_rows_is_kept(tmp_path: Path) -> None:
    first = Part(
        {"v": np.array([0, 2.0]), "label": np.array([7, 8]), "file": texts("a", "b")},
        (Skipped(0, "bad", labelled=True),),
    )
    second = Part({"label": np.array([0, 9]), "file": texts("c", "d")}, (Skipped(2, "no"), Skipped(3, "no", True)))
    made = table(tmp_path, first, second, rows=4, skip_errors=True)
    assert from_parquet(made, tmp_path / "t.parquet") == [
        {"v": None, "label": 7, "file": "a", "error": "bad"},
        {"v": 2, "label": 8, "file": "b", "error": None},
        {"v": None, "label": None, "file": "c", "error": "no"},
        {"v": None, "label": 9, "file": "d", "error": "no"},
    ]
    arrays = from_npz(made, tmp_path / "t.npz")
    assert arrays["label"].tolist() == [7, 8, 0, 9]
    assert arrays["file"].tolist() == ["a", "b", "c", "d"]


def test_an_output_that_is_called_error_is_kept(tmp_path: Path) -> None:
    made = table(tmp_path, Part({"error": np.array([0.5, 2.0])}), Part({"error": np.array([7.0])}), rows=3)
    assert from_npz(made, tmp_path / "t.npz")["error"].tolist() == [0.5, 2, 7]
    assert [row["error"] for row in from_parquet(made, tmp_path / "t.parquet")] == [0.5, 2, 7]


def test_no_row_at_all_could_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 2 rows could be read; a"):
        table(tmp_path, Part({}, (Skipped(0, "a"), Skipped(1, "b"))), rows=2, skip_errors=True)


def test_outputs_that_are_no_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'v' is float64\[4\] in rows 2 to 3, and float64\[3\] before them"):
        table(tmp_path, Part({"v": np.zeros((2, 3))}), Part({"v": np.zeros((2, 4))}), rows=4)


def test_complex_numbers_are_for_npz_files(tmp_path: Path) -> None:
    made = table(tmp_path, Part({"v": np.array([1j, 2])}), rows=2)
    assert from_npz(made, tmp_path / "t.npz")["v"].tolist() == [1j, 2]
    with pytest.raises(ModelError, match=r"'v' is complex128, which Parquet does not have; write an \.npz file"):
        from_parquet(made, tmp_path / "t.parquet")


def test_a_group_of_rows_holds_many_shards(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parts = [Part({"n": np.array([2 * i, 2 * i + 1])}) for i in range(40)]
    write_parquet(table(tmp_path, *parts, rows=80), tmp_path / "t.parquet")
    file = parquet.ParquetFile(tmp_path / "t.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (1, 80)
    file.close()
