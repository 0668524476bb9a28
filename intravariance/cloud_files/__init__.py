# SPDX-License-Identifier: Apache-2.0
"""Point clouds in files of other tools: many kinds (SUFFIXES), and labels beside.

`read_cloud` reads one, `read_labels` the labels in a file of their own, and the writers return the
bytes of a file. Parsers are our own and work in NumPy: Open3D's PLY reader ends the process on
damaged files, and its other readers return empty clouds. LAS and E57 are read by libraries, in a
child process. Damaged, cut-off and hostile files end in an `InputError` that names the file and the
place. Reading allocates memory for what the file holds, not for what it declares. It refuses more
points than the store's MAX_ROWS, and more compressed content than `lzf.LARGEST_CONTENT`, before
they are unpacked.
"""

from intravariance.cloud_files.choices import AS_WRITTEN, AnomalousLabels, ReadingChoices
from intravariance.cloud_files.cloud import PointCloud
from intravariance.cloud_files.labels import parse_labels, read_labels
from intravariance.cloud_files.reading import SUFFIXES, parse_cloud, read_cloud
from intravariance.cloud_files.writing import write_pcd, write_ply, write_ply_fields, write_text

__all__ = [
    "AS_WRITTEN",
    "SUFFIXES",
    "AnomalousLabels",
    "PointCloud",
    "ReadingChoices",
    "parse_cloud",
    "parse_labels",
    "read_cloud",
    "read_labels",
    "write_pcd",
    "write_ply",
    "write_ply_fields",
    "write_text",
]
