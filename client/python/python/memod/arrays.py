"""Arrays and tables: numpy arrays as npy, pandas frames and Arrow tables as Arrow's IPC stream.

Nothing is imported that the program has not imported itself: a type of a package can only be named
by who has.
"""

from __future__ import annotations

import io
import json
import sys
import typing
from types import ModuleType
from typing import Any

from memod.errors import InvalidArgumentError
from memod.options import kind_of

Spec = tuple[Any, ...]


def spec_of(annotation: Any) -> Spec | None:
    """How values of this type are converted, if it is an array or a table."""
    origin = typing.get_origin(annotation) or annotation
    numpy = sys.modules.get("numpy")
    if numpy is not None and origin is getattr(numpy, "ndarray", None):
        return ("opaque", "npy", encode_array, decode_array, settled_array)
    pandas = sys.modules.get("pandas")
    if pandas is not None and origin is getattr(pandas, "DataFrame", None):
        return ("opaque", "arrow", encode_frame, decode_frame, settled_frame)
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and origin is getattr(pyarrow, "Table", None):
        return ("opaque", "arrow", encode_table, decode_table, settled_table)
    return None


def plain_scalar(of: type) -> str | None:
    """The name of Python's type of the values of a scalar type of numpy's, if this is one."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(of, numpy.generic):
        return None
    for kinds, plain in ((numpy.bool_, "bool"), (numpy.integer, "int"), (numpy.floating, "float")):
        if issubclass(of, kinds):
            return plain
    return None


def encode_array(value: Any) -> bytes:
    """The array as npy, in C order whatever its own is, so that equal arrays have equal bytes."""
    import numpy

    _check_array(value)
    file = io.BytesIO()
    in_order = numpy.asarray(value, order="C")
    numpy.lib.format.write_array(file, in_order, allow_pickle=False)
    return file.getvalue()


def _check_array(value: Any) -> None:
    import numpy

    if type(value) is not numpy.ndarray and type(value) is not numpy.memmap:
        raise _wrong_kind(value, "numpy.ndarray")
    if value.dtype.hasobject:
        raise InvalidArgumentError(
            "is an array of objects, which would have to be pickled; give it a dtype, as astype "
            "does, or declare Annotated[numpy.ndarray, memod.Pickle()]"
        )


def decode_array(blob: memoryview) -> Any:
    """A new array that may be written to."""
    import numpy

    file = io.BytesIO(blob)
    version = numpy.lib.format.read_magic(file)
    header = (
        numpy.lib.format.read_array_header_1_0
        if version == (1, 0)
        else numpy.lib.format.read_array_header_2_0
    )
    if version not in ((1, 0), (2, 0)):
        return numpy.lib.format.read_array(io.BytesIO(blob), allow_pickle=False)
    shape, is_fortran, dtype = header(file)
    if dtype.hasobject:
        raise InvalidArgumentError("is an array of objects, which would have to be unpickled")
    flat = numpy.frombuffer(blob, dtype, offset=file.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def settled_array(value: Any) -> Any:
    """The array as a hit gives it: in C order, and of no other class."""
    import numpy

    _check_array(value)
    return numpy.asarray(value, order="C")


def encode_frame(value: Any) -> bytes:
    """The frame as an Arrow table, without the versions of the packages that made it."""
    import pandas

    pyarrow = _pyarrow()
    if type(value) is not pandas.DataFrame:
        raise _wrong_kind(value, "pandas.DataFrame")
    try:
        table = pyarrow.Table.from_pandas(value)
    except pyarrow.ArrowException as error:
        why = ": ".join(str(said) for said in reversed(error.args))
        raise InvalidArgumentError(
            f"cannot be an Arrow table ({why}); give each column values of one type"
        ) from error
    metadata = dict(table.schema.metadata or {})
    described = json.loads(metadata.get(b"pandas", b"{}"))
    described.pop("creator", None)
    described["pandas_version"] = "0"
    metadata[b"pandas"] = json.dumps(described, sort_keys=True).encode()
    return encode_table(table.replace_schema_metadata(metadata))


def decode_frame(blob: memoryview) -> Any:
    """A new frame."""
    return decode_table(blob).to_pandas(self_destruct=False)


def settled_frame(value: Any) -> Any:
    """The frame as a hit gives it: with what Arrow keeps of it."""
    return value if _is_plain(value) else decode_frame(memoryview(encode_frame(value)))


def _is_plain(frame: Any) -> bool:
    """Whether it holds nothing but numbers, of which Arrow keeps everything."""
    import numpy
    import pandas

    if type(frame) is not pandas.DataFrame or frame.attrs:
        return False
    names, index = frame.columns, frame.index
    is_named = type(names) is pandas.Index and names.dtype == pandas.Index(["a"]).dtype
    return (
        is_named
        and frame.flags.allows_duplicate_labels
        and type(index) is pandas.RangeIndex
        and all(isinstance(of, numpy.dtype) and of.kind in "biuf" for of in frame.dtypes)
    )


def encode_table(value: Any) -> bytes:
    """The table as Arrow's IPC stream, in one piece however many chunks it has."""
    pyarrow = _pyarrow()
    _check_table(value)
    table = value.combine_chunks()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def _check_table(value: Any) -> None:
    if not isinstance(value, _pyarrow().Table):
        raise _wrong_kind(value, "pyarrow.Table")


def decode_table(blob: memoryview) -> Any:
    """A table that reads the bytes in place."""
    pyarrow = _pyarrow()
    with pyarrow.ipc.open_stream(pyarrow.py_buffer(blob)) as reader:
        return _in_one_piece(reader.read_all())


def settled_table(value: Any) -> Any:
    """The table as a hit gives it: each column in one piece."""
    _check_table(value)
    is_whole = value.num_rows and all(one.num_chunks == 1 for one in value.columns)
    return value if is_whole else _in_one_piece(value)


def _in_one_piece(table: Any) -> Any:
    return table.combine_chunks() if table.num_rows else table.schema.empty_table()


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise InvalidArgumentError("needs pyarrow; install memod[tables]") from error
    module: ModuleType = pyarrow
    return module


def _wrong_kind(value: Any, wanted: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"is {kind_of(value)}, {wanted} is declared")
