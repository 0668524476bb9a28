# SPDX-License-Identifier: Apache-2.0
"""Reading HDF5 files that somebody else made, without trusting them.

An HDF5 file can make its reader open other files (external links, external storage, virtual
datasets), load plugins (filters) and allocate any amount of memory (declared shapes). So every
object is looked at before it is followed or read: hard links only, data stored in the file
itself, filters that HDF5 has built in, fixed-size types, sizes that the caller expects.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5z
from numpy.typing import NDArray

from intravariance.errors import IntegrityError

FILTERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
LAYOUTS = {h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED}
# Attributes are kept in the object header, whose messages hold at most 64 KiB.
MAX_ATTRIBUTE_BYTES = 65_000
# Data that is both this large and this much compressed says the same over and over: a trap, but for
# arrays that may be constant, as labels are.
BOMB_SIZE, BOMB_RATIO = 50 * 2**20, 200
WIDEST = 16  # dimensions after the first, in files of ours


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Turn whatever h5py raises about a damaged file into an IntegrityError naming `what`."""
    try:
        yield
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise IntegrityError(f"{what}: damaged, cannot be read ({reason})") from error


def child_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return the group `name` directly below `parent`, reached over a hard link."""
    return _child(parent, name, h5py.Group)


def child_array(
    parent: h5py.Group,
    name: str,
    dtype: str,
    shape: tuple[int | None, ...],
    limit: int,
    widest: int = WIDEST,
    constant: bool = False,
) -> NDArray[Any]:
    """Read the whole dataset `name` directly below `parent`, native-endian.

    dtype : kind and size, as "f4". shape : expected shape, None where any length will do.
    limit : largest number of rows; widest : of every further dimension. constant : all rows may be
    the same. IntegrityError when the dataset is not so or fails its checksum.
    """
    dataset = checked_dataset(parent, name, limit, widest, constant)
    what = _Place(parent, name)
    found = dataset.dtype
    if found.kind + str(found.itemsize) != dtype:
        raise IntegrityError(f"{what}: has type {found}, expected {np.dtype(dtype)}")
    matches = len(dataset.shape) == len(shape) and all(
        want is None or have == want for have, want in zip(dataset.shape, shape, strict=True)
    )
    if not matches:
        expected = tuple("any" if n is None else n for n in shape)
        raise IntegrityError(f"{what}: has shape {dataset.shape}, expected {expected}")
    with reading(what):
        return np.asarray(dataset[()], dtype=found.newbyteorder("="))


def checked_dataset(
    parent: h5py.Group, name: str, limit: int, widest: int = WIDEST, constant: bool = False
) -> h5py.Dataset:
    """Return the dataset `name` directly below `parent` when it is safe to read: see the module."""
    dataset = _child(parent, name, h5py.Dataset)
    what = _Place(parent, name)
    with reading(what):
        creation = dataset.id.get_create_plist()
        filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
        layout, external = creation.get_layout(), creation.get_external_count()
        stored = dataset.id.get_storage_size()
        shape, chunks, nbytes = dataset.shape, dataset.chunks, dataset.nbytes
        plain = _is_plain(dataset.dtype)
    if layout not in LAYOUTS or external:
        raise IntegrityError(
            f"{what}: keeps its data in another file (external or virtual dataset); refused"
        )
    if filters - FILTERS:
        raise IntegrityError(
            f"{what}: HDF5 filter {sorted(filters - FILTERS)} refused; allowed are deflate, "
            "shuffle and fletcher32"
        )
    if not plain:
        raise IntegrityError(f"{what}: type {dataset.dtype} refused; expected fixed-size numbers")
    if not shape or shape[0] > limit or any(n > widest for n in shape[1:]):
        raise IntegrityError(f"{what}: shape {shape} refused; at most {limit} rows are expected")
    # The stored stream is never longer than the raw bytes and a checksum: so a small dataset cannot
    # hide a stream that inflates to gigabytes.
    if stored > nbytes + 64 or (chunks and any(c > n for c, n in zip(chunks, shape, strict=True))):
        raise IntegrityError(f"{what}: stores {stored} bytes for {nbytes} bytes of data; refused")
    if not constant and nbytes > max(BOMB_SIZE, BOMB_RATIO * stored) and stored:
        raise IntegrityError(
            f"{what}: {stored} bytes expand to {nbytes}, as those of a bomb do; refused"
        )
    with reading(what):
        fault = _chunk_fault(dataset, filters) if chunks else _row_fault(stored, nbytes)
    if fault:
        raise IntegrityError(f"{what}: {fault}; refused")
    return dataset


def _row_fault(stored: int, nbytes: int) -> str:
    """Say that a dataset without chunks does not store all that it declares; "" if it does."""
    return "" if stored == nbytes else f"stores {stored} of the {nbytes} bytes that it declares"


def _chunk_fault(dataset: h5py.Dataset, filters: set[int]) -> str:
    """Say what is wrong with the stored chunks, before HDF5 reads one; "" for nothing.

    The library takes a checksum's 4 bytes off a stored size without looking whether there are any,
    and gives memory to all rows that are declared, whether they are stored or not.
    """
    chunks = dataset.chunks
    largest = math.prod(chunks) * dataset.dtype.itemsize + 64
    least = 5 if h5z.FILTER_FLETCHER32 in filters else 1
    declared = math.prod(-(-n // c) for n, c in zip(dataset.shape, chunks, strict=True))
    if (count := dataset.id.get_num_chunks()) != declared:
        return f"stores {count} of the {declared} chunks that it declares"
    for number in range(count):
        size = dataset.id.get_chunk_info(number).size
        if not least <= size <= largest:
            return f"a chunk of {size} bytes, expected {least} to {largest}"
    return ""


def attribute(item: h5py.Group, name: str) -> Any:
    """Read the attribute `name`: str, or a number, or a numeric array."""
    what = _Place(item, "", f" attribute {name!r}")
    with reading(what):
        if name not in item.attrs:
            raise IntegrityError(f"{what}: missing")
        handle = item.attrs.get_id(name)
        size, dtype = handle.get_storage_size(), handle.dtype
        if size > MAX_ATTRIBUTE_BYTES or not _is_plain(dtype):
            raise IntegrityError(f"{what}: refused, {size} bytes of type {dtype}")
        value = item.attrs[name]
        if isinstance(value, bytes):
            return value.decode("utf-8")
        return value


def _child(parent: h5py.Group, name: str, kind: type) -> Any:
    what = _Place(parent, name)
    with reading(what):
        link = parent.get(name, getlink=True)
        if link is None:
            raise IntegrityError(f"{what}: missing")
        if not isinstance(link, h5py.HardLink):
            raise IntegrityError(f"{what}: is a {type(link).__name__}, which is refused")
        item = parent[name]
    if not isinstance(item, kind):
        raise IntegrityError(f"{what}: is a {type(item).__name__}, expected {kind.__name__}")
    return item


def _is_plain(dtype: np.dtype[Any]) -> bool:
    """Tell whether a type is of numbers, fixed-length strings, or flat records of them."""
    if dtype.names:
        return all(_is_plain(dtype[name]) and not dtype[name].names for name in dtype.names)
    return dtype.kind in "iufS" and h5py.check_dtype(ref=dtype) is None


@dataclass(frozen=True)
class _Place:
    """Names a place in a file, for messages: the name is looked up only when it is printed."""

    parent: h5py.Group
    name: str
    ending: str = ""

    def __str__(self) -> str:
        parent = f"{self.parent.file.filename}: {self.parent.name.rstrip('/')}"
        return f"{parent}/{self.name}".rstrip("/") + self.ending
