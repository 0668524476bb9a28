# SPDX-License-Identifier: Apache-2.0
"""Building a dataset: plan, base meshes, Blender's defects, samples, one file."""
