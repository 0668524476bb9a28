# SPDX-License-Identifier: Apache-2.0
"""Mesh formats: triangles from the bytes of a file, a module for each format."""
