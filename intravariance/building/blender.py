# SPDX-License-Identifier: Apache-2.0
"""The client side of the Blender worker: a process that is reused, watched and restarted.

Blender always runs in a process of its own, so a crash costs one try and its licence and global
state stay on their side. Nothing here imports bpy.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import blender_scripts
from blender_scripts.messages import pack, unpack
from intravariance.dataset.added_defects import AddedDefect, find_defect, load_defect
from intravariance.errors import BackendUnavailable, IVError, shortened
from intravariance.executors.processes import LOOK_AFTER, is_stopped
from intravariance.extensions import ExtensionError
from intravariance.extras import not_installed
from intravariance.geometry.mesh import Mesh, mesh_from_arrays

SYSTEM_LIBRARIES = "libxrender1 libxfixes3 libxi6 libxkbcommon0 libsm6 libgl1"
OLDEST_BLENDER = (4, 5)  # the first with the MANIFOLD boolean solver
START_TIMEOUT = 120.0  # seconds; a cold start from a slow disk takes 10
REQUEST_TIMEOUT = 180.0  # seconds of processor time; the slowest defect seen took 5
PATIENCE = 20  # wall time for each second of these, for a Blender that only waits
MEMORY = 4 * 2**30  # bytes of address space beside what it has when it starts
LARGEST_ANSWER = 2**30  # bytes; a mesh of a million faces takes 60 MB
TRIES = 3
# Errors in reading an answer that is none of ours.
_GARBAGE = (
    ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


class BlenderCrash(IVError):
    """The Blender worker died or did not answer in time, on every try."""


class ImpossibleDefect(IVError):
    """No parameters drawn for a defect gave a usable result on this mesh."""


@dataclass(frozen=True)
class Defective:
    """A defective mesh and its ground truth, as the worker made them.

    mesh : in the unit-sphere frame of the pristine mesh. displacement : (V, 3) float32, from the
    pristine surface to the defective one. cut : (F,) bool, triangles newly exposed by a cut.
    rim : (K, 3) float32, points along the edges of the cut. parameters : what was drawn.
    rejections : why earlier draws were refused. severity : None without a defect.
    """

    mesh: Mesh
    displacement: NDArray[np.float32]
    cut: NDArray[np.bool_]
    rim: NDArray[np.float32]
    parameters: dict[str, Any]
    rejections: list[str]
    severity: float | None = None


class BlenderWorker:
    """One Blender process, started at the first request.

    executable : a Blender program; None uses the bpy wheel of this Python.
    timeout : seconds of processor time that a request may take before the process ends and the
    request is retried. patience : seconds by the clock for each of these. memory : bytes of address
    space that Blender may take beside what it has when it starts.
    """

    def __init__(
        self,
        executable: Path | None = None,
        timeout: float = REQUEST_TIMEOUT,
        patience: float = PATIENCE,
        memory: int = MEMORY,
    ) -> None:
        self.executable = executable
        self.timeout = timeout
        self.patience = patience * timeout
        self.memory = memory
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the worker)

    def versions(self) -> dict[str, str]:
        """Ask for the versions of the worker's Blender and NumPy: {"blender": ..., "numpy": ...}.

        Raises BackendUnavailable when Blender cannot be started, saying what to install.
        """
        header, _ = self._request({"request": "versions"})
        return {str(key): str(value) for key, value in header.items()}

    def design(self, category: str, subcategory: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Make an embedded design: (vertices, faces), in the design's own units."""
        request = {"request": "design", "category": category, "subcategory": subcategory}
        _, arrays = self._request(request)
        return arrays["vertices"], arrays["faces"]

    def defect(
        self,
        kind: str,
        mesh: Mesh,
        entropy: list[int],
        severity: float | None,
        size: float | None = None,
        donor: Mesh | None = None,
    ) -> Defective:
        """Make `mesh` (unit-sphere frame) defective; the same arguments give the same result.

        size : departure in radii, whose severity is searched then. donor : gives a wrong part.
        Raises ImpossibleDefect when no draw gave a usable result, BlenderCrash when Blender died
        on every try, ExtensionError when the function that a package adds for it failed.
        """
        given = {"vertices": mesh.vertices, "faces": mesh.faces}
        if donor is not None:
            given |= {"donor_vertices": donor.vertices, "donor_faces": donor.faces}
        request: dict[str, Any] = {"request": "defect", "defect": kind, "entropy": entropy}
        extension = find_defect(kind)
        if extension is not None:
            request["added"] = _added(load_defect(extension))
        request |= {"severity": severity, "size": size}
        try:
            header, arrays = self._request(request, **given)
        except (ImpossibleDefect, BackendUnavailable):
            raise
        except IVError as error:
            if extension is None:
                raise
            raise ExtensionError(f"{extension}: {error}") from error
        return Defective(
            mesh=mesh_from_arrays(arrays["vertices"], arrays["faces"]),
            displacement=arrays["displacement"],
            cut=arrays["cut"],
            rim=arrays["rim"],
            parameters=header["parameters"],
            rejections=header["rejections"],
            severity=header["severity"],
        )

    def close(self) -> None:
        """End the process; the next request starts a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> BlenderWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._log.close()

    def _request(
        self, request: dict[str, Any], **arrays: NDArray[Any]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        header, results = self._exchange_or_retry(pack(request, **arrays), request)
        if header.get("error") == "geometry":
            raise ImpossibleDefect(header["message"])
        if header.get("error") == "added":
            raise IVError(header["message"])
        if "error" in header:
            raise IVError(f"the Blender worker failed on request {request}:\n{header['message']}")
        return header, results

    def _exchange_or_retry(
        self, message: bytes, request: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        failure = ""
        for _ in range(TRIES):
            try:
                return self._exchange(message)
            except (EOFError, OSError) as error:  # TimeoutError is an OSError
                failure = str(error) or self._ending()
                self.close()
                self.restarts += 1
        raise BlenderCrash(
            f"Blender failed {TRIES} times ({failure}) on request {request}; its last output:\n"
            f"{self._last_output() or '(none)'}"
        )

    def _ending(self) -> str:
        """Tell how a process that closed its socket ended."""
        try:
            ended = self._process.wait(timeout=10) if self._process is not None else None
        except subprocess.TimeoutExpired:
            ended = None
        if ended == -signal.SIGPROF:
            return f"no answer within {self.timeout:g} s of processor time"
        return "it ended without an answer"

    def _exchange(self, message: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        if self._connection is None:
            self._start()
        assert self._connection is not None and self._process is not None
        late = f"no answer within {self.patience:g} s"
        end, stopped = time.monotonic() + self.patience, False
        try:
            self._connection.send_bytes(message)
            while not self._connection.poll(min(LOOK_AFTER, max(0.0, end - time.monotonic()))):
                if stopped and is_stopped(self._process.pid):
                    raise TimeoutError("it was stopped from outside")
                if time.monotonic() >= end:
                    raise TimeoutError(late)
                stopped = is_stopped(self._process.pid)
            return _unpacked(self._connection.recv_bytes(LARGEST_ANSWER))
        except BlockingIOError:  # it stopped in the middle of a message (see `_start`)
            raise TimeoutError(late) from None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # A message is larger than the socket's buffer: a Blender that hangs must not block us.
        limit = struct.pack("ll", max(1, round(self.patience)), 0)  # struct timeval
        for direction in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, direction, limit)
        script = str(Path(blender_scripts.__file__).parent / "worker.py")
        command = [sys.executable, script]
        if self.executable is not None:
            command = [str(self.executable), "--background", "--factory-startup", "-noaudio"]
            command += ["--threads", "1", "--python-exit-code", "3", "--python", script]
        # Its own threads would compete with the other workers; results do not depend on them.
        environment = os.environ | {
            "IV_BLENDER_SOCKET": str(theirs.fileno()),
            "IV_BLENDER_SECONDS": str(self.timeout),
            "IV_BLENDER_PATIENCE": str(round(self.patience) + 10),
            "IV_BLENDER_MEMORY": str(self.memory),
            "OPENBLAS_NUM_THREADS": "1",
        }
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    start_new_session=True,  # Ctrl-C is for us; Blender ends with the socket
                )
        except OSError as error:
            ours.close()
            raise BackendUnavailable(
                f"--blender {self.executable}: cannot be started ({error.strerror})"
            ) from error
        self._connection = Connection(ours.detach())
        self._greet()

    def _greet(self) -> None:
        """Wait for the first sign of life, so that a failed start is told from a failed job.

        Raises EOFError where it was killed meanwhile, which trying again may mend.
        """
        assert self._connection is not None and self._process is not None
        try:
            self._connection.send_bytes(pack({"request": "versions"}))
            if not self._connection.poll(START_TIMEOUT):
                raise EOFError
            header, _ = _unpacked(self._connection.recv_bytes(LARGEST_ANSWER))
            version = tuple(int(part) for part in header["blender"].split(".")[:2])
        except _GARBAGE:
            if self._killed():
                raise EOFError("it was killed while it started") from None
            self.close()
            raise BackendUnavailable(_why_not_started(self._last_output())) from None
        if version < OLDEST_BLENDER:
            self.close()
            raise BackendUnavailable(
                f"Blender {header['blender']} is too old, at least "
                f"{'.'.join(map(str, OLDEST_BLENDER))} is needed"
            )

    def _killed(self) -> bool:
        """Tell whether the process is gone by a signal that we did not send."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=10) < 0
        except subprocess.TimeoutExpired:
            return False

    def _last_output(self, size: int = 2000) -> str:
        end = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, end - size))
        return self._log.read().decode(errors="replace").strip()


def _unpacked(answer: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Unpack an answer; EOFError where it is none."""
    try:
        header, arrays = unpack(answer)
        return dict(header), arrays
    except _GARBAGE as error:
        raise EOFError(f"its answer is no message of ours: {shortened(str(error))}") from error


def _added(defect: AddedDefect) -> dict[str, Any]:
    """Return what the worker is to know of a defect that a package adds."""
    spec = find_spec(defect.function.partition(":")[0].partition(".")[0])
    place = Path(spec.origin) if spec and spec.origin else None
    folder = "" if place is None else str(place.parents[place.name == "__init__.py"])
    return {**vars(defect), "folder": folder}


@lru_cache(maxsize=1)
def blender_worker(executable: Path | None) -> BlenderWorker:
    """Return this process's Blender: a worker process keeps one for all its tasks."""
    return BlenderWorker(executable)


def _why_not_started(output: str) -> str:
    if "No module named 'bpy'" in output:
        return (
            f"Blender: {not_installed(['bpy'])} (for Python 3.11 alone). Or name a Blender program "
            "with --blender PATH."
        )
    if "cannot open shared object file" in output:
        return (
            "Blender cannot start, a system library is missing:\n"
            f"  {output.splitlines()[-1]}\n"
            f"On Debian or Ubuntu: apt-get install --no-install-recommends {SYSTEM_LIBRARIES}"
        )
    return f"Blender could not be started; its last output:\n{output or '(none)'}"
