"""Files that may be anything."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from pydantic import Field

from spikeloom.model.errors import SpikeloomError
from spikeloom.model.system.arrays import read_archive, read_npy
from spikeloom.model.system.json_text import parse_json
from spikeloom.model.system.paths import path_of, shown
from spikeloom.model.system.reading import read_bytes, read_text
from spikeloom.model.system.records import Record, read_record


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["fifo", "folder", "missing", "/dev/zero", "large"])
def test_what_is_not_read(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SpikeloomError, match=kind):
        read_bytes(tmp_path / kind, 1000)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc\xe9")
    with pytest.raises(SpikeloomError, match="byte 3 is 0xe9"):
        read_text(tmp_path / "a", 100)


@pytest.mark.parametrize("value", [None, 5, b"x", "", "a\0b", "~nobody-has-this-name/x"])
def test_no_paths(value: object) -> None:
    with pytest.raises(SpikeloomError, match="output"):
        path_of(value, "output")


def test_shown_paths_can_be_printed() -> None:
    assert shown(os.fsdecode(b"a\xff\n")) == "a\\xff\\n"


_DTYPES = (np_st.integer_dtypes(endianness="?") | np_st.floating_dtypes(sizes=(16, 32, 64), endianness="?")
           | np_st.boolean_dtypes() | np_st.unsigned_integer_dtypes(endianness="?"))


# without subnormal numbers: the compiled training steps of other tests switch them off for the whole process
@given(_DTYPES.flatmap(lambda dtype: np_st.arrays(dtype, np_st.array_shapes(min_dims=0, max_dims=4, min_side=0),
                                                  elements=np_st.from_dtype(dtype, allow_subnormal=False))),
       st.booleans())
def test_arrays_as_numpy_writes_them(array: np.ndarray, fortran: bool) -> None:
    got = read_npy(_npy(np.asfortranarray(array) if fortran else array), "x")
    np.testing.assert_array_equal(got, array)
    assert got.dtype.isnative
    assert got.flags.writeable


@pytest.mark.parametrize("header", [
    "{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (True,), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (4,",
    "  {'descr'\n",
    "{'descr': '<f1', 'fortran_order': False, 'shape': (4,), }",
])
def test_other_headers(header: str) -> None:
    data = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + bytes(4)
    with pytest.raises(SpikeloomError, match=r"^x: "):
        read_npy(data, "x")


def test_an_array_too_long() -> None:
    with pytest.raises(SpikeloomError, match="there are 5"):
        read_npy(_npy(np.zeros(4, np.uint8)) + b"\0", "x")


def test_archives_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w", force_zip64=True) as out:
        for _ in range(200):
            out.write(bytes(1 << 20))
    with pytest.raises(SpikeloomError, match="unpacks to 209,715,200"):
        read_archive(file, 1 << 40)
    assert read_archive(file, 1 << 40, wanted=()) == {}


@pytest.mark.parametrize(("text", "why"), [
    ("[" * 200_000, "levels"), ('{"a": ' * 100 + "1" + "}" * 100, "levels"), ("1" * 5000, "5,000 digits"),
    ('{"a": 1, "a": 2}', "'a' stands twice"), ("NaN", "not finite"), ("1e999", "not finite"),
    ('"\\ud800"', "surrogate"),
    ("{", "property name"), (b"\xff", "byte 0"),
])
def test_json_that_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(SpikeloomError, match=f"^x: not valid JSON: .*{why}"):
        parse_json(text, "x")


class _Layer(Record):
    lanes: Annotated[int, Field(ge=1, le=8)]
    name: str = "a"


class _Fold(Record):
    layers: tuple[_Layer, ...]


@pytest.mark.parametrize(("text", "why"), [
    ('{"layers": [{"lanes": 0}]}', r"layers\[0\].lanes: .*greater than or equal to 1, not 0"),
    ('{"layers": [{"lanes": 64.0}]}', r"layers\[0\].lanes: .*integer, not 64.0"),
    ('{"layers": [{"lanes": true}]}', r"layers\[0\].lanes: .*integer, not True"),
    ('{"layers": [{}]}', r"field layers\[0\].lanes is missing"),
    ('{"layers": [], "x": 1}', "field x is unknown"),
    ('{"layers": "x"}', "field layers: .*, not 'x'"),
    ("[]", "not"),
])
def test_records(text: str, why: str) -> None:
    with pytest.raises(SpikeloomError, match=f"^f: .*{why}"):
        read_record(_Fold, text, "f")


def test_a_good_record() -> None:
    assert read_record(_Fold, '{"layers": [{"lanes": 8}]}', "f").layers[0].lanes == 8
