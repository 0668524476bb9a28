# SPDX-License-Identifier: Apache-2.0
"""Meshes and the points on them: topology, sampling, normals, template surfaces."""
