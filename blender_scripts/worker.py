# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender worker: jobs come in over a socket, meshes and ground truth go out.

Started by `iv` as `python worker.py` (with the bpy wheel) or `blender --background --python
worker.py`; the environment variable IV_BLENDER_SOCKET holds the number of the inherited socket.
The worker answers one job at a time and ends when the other side closes the socket, or when a job
takes more than IV_BLENDER_SECONDS of processor time: a busy machine takes longer for a job and
must not fail on it. IV_BLENDER_PATIENCE is the same in seconds of wall time, for a job that waits
for ever: nobody is left to stop it when `iv` itself was killed. IV_BLENDER_MEMORY is how many bytes
of address space a job may take.
"""

import os
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

# Blender starts a thread for each processor that it may use, and threads that wait for work take
# processor time from the other workers: let it see one processor while it is loaded.
processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
if processors:
    os.sched_setaffinity(0, {min(processors)})
import bpy

if processors:
    os.sched_setaffinity(0, processors)
import numpy as np

from blender_scripts import designs
from blender_scripts.defects import make_defect, make_sized_defect
from blender_scripts.defects.added import AddedDefectError, add_defect
from blender_scripts.meshes import GeometryError
from blender_scripts.messages import pack, unpack


def answer(header, arrays):
    """Answer one request with a packed message.

    Raises GeometryError when no defect is accepted, AddedDefectError when a function that a package
    adds failed, ValueError for an unknown request.
    """
    if header["request"] == "versions":
        return pack({"blender": bpy.app.version_string, "numpy": np.__version__})
    if header["request"] == "design":
        vertices, faces = designs.build(header["category"], header["subcategory"])
        return pack({}, vertices=vertices, faces=faces)
    if header["request"] == "defect":
        rng = np.random.default_rng(np.random.SeedSequence(header["entropy"]))
        if header.get("added"):
            add_defect(header["defect"], header["added"])
        what = header["defect"], arrays["vertices"], arrays["faces"], rng
        donor = None
        if "donor_vertices" in arrays:
            donor = arrays["donor_vertices"], arrays["donor_faces"]
        severity = header["severity"]
        if header["size"] is None:
            defective, rejections = make_defect(*what, severity, donor=donor)
        else:
            defective, severity, rejections = make_sized_defect(*what, header["size"], donor=donor)
        return pack(
            {
                "parameters": defective.parameters,
                "rejections": rejections,
                "severity": severity,
            },
            vertices=defective.vertices.astype(np.float32),
            faces=defective.faces.astype(np.int32),
            displacement=defective.displacement.astype(np.float32),
            cut=defective.cut,
            rim=defective.rim.astype(np.float32),
        )
    raise ValueError(f"unknown request {header['request']!r}")


def limit_memory(most):
    """Let this process take `most` bytes of address space beside what it has; on Linux alone."""
    try:
        with open("/proc/self/statm") as file:
            taken = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = taken + most if hard == resource.RLIM_INFINITY else min(taken + most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main():
    """Serve until the other side closes the socket."""
    limit_memory(int(os.environ["IV_BLENDER_MEMORY"]))
    connection = Connection(int(os.environ["IV_BLENDER_SOCKET"]))
    seconds = float(os.environ["IV_BLENDER_SECONDS"])
    patience = int(os.environ["IV_BLENDER_PATIENCE"])
    while True:
        try:
            message = connection.recv_bytes()
        except EOFError:
            return
        header, arrays = unpack(message)
        if header["request"] != "versions":
            # Both end the process, also when it is inside Blender's own code.
            signal.setitimer(signal.ITIMER_PROF, seconds)
            signal.alarm(patience)
        try:
            reply = answer(header, arrays)
        except GeometryError as error:
            reply = pack({"error": "geometry", "message": str(error)})
        except AddedDefectError as error:
            reply = pack({"error": "added", "message": str(error)})
        except Exception:
            reply = pack({"error": "exception", "message": traceback.format_exc()})
        connection.send_bytes(reply)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


if __name__ == "__main__":
    main()
