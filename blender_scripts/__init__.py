# SPDX-License-Identifier: GPL-3.0-or-later
"""Code that runs inside Blender: bpy, numpy and the standard library, nothing else."""
