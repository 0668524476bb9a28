# SPDX-License-Identifier: Apache-2.0
"""Hierarchical quality control: two detectors in stages."""
