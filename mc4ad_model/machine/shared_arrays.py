# SPDX-License-Identifier: Apache-2.0
"""Samples whose arrays all processes of a training share, instead of one copy in each.

The arrays lie in an anonymous file that processes map, which no limit of /dev/shm holds for.
"""

from __future__ import annotations

import mmap
import os
import pickle  # noqa: TID251 - between our own processes, as multiprocessing does
import tempfile
from multiprocessing.reduction import DupFd
from typing import IO, Any, Protocol

import torch

_ALIGNMENT = 64  # of an array in the file, in bytes
Spans = tuple[tuple[int, int], ...]  # first byte and one past the last of each array


class Dataset(Protocol):
    """Samples as `training_samples.load_batches` needs them."""

    per_epoch: int
    batch: Any

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Any: ...


class SharedSamples(torch.utils.data.Dataset[Any]):
    """Samples whose arrays are in the file `descriptor`, and cannot be written to.

    `multiprocessing` hands the file itself to another process.
    """

    def __init__(self, pickled: bytes, descriptor: int, spans: Spans) -> None:
        self._pickled, self._descriptor, self._spans = pickled, descriptor, spans
        mapped = memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))
        arrays = [mapped[first:last] for first, last in spans]
        self.samples: Dataset = pickle.loads(pickled, buffers=arrays)  # our own bytes
        self.per_epoch, self.batch = self.samples.per_epoch, self.samples.batch

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Any:
        return self.samples[number]

    def __reduce__(self) -> tuple[Any, ...]:
        return _attached, (self._pickled, DupFd(self._descriptor), self._spans)

    def __del__(self) -> None:
        os.close(self._descriptor)


def share_arrays(samples: Dataset) -> SharedSamples:
    """Copy the arrays of samples to where all processes can read them.

    Keep no other reference to `samples`, and their memory is free again.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(samples, protocol=5, buffer_callback=buffers.append)
    spans, end = [], 0
    with _anonymous_file() as file:
        for buffer in buffers:
            content = buffer.raw()
            first = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = first + content.nbytes
            file.seek(first)
            file.write(content)
            spans.append((first, end))
        file.truncate(max(end, 1))
        return SharedSamples(pickled, os.dup(file.fileno()), tuple(spans))


def _anonymous_file() -> IO[bytes]:
    """Open a file in memory, or a temporary one where the system has no such files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("samples"), "wb")
    return tempfile.TemporaryFile()


def _attached(pickled: bytes, descriptor: Any, spans: Spans) -> SharedSamples:
    return SharedSamples(pickled, descriptor.detach(), spans)
