# SPDX-License-Identifier: Apache-2.0
"""Checks that a dataset is whole, true to its geometry, and free of shortcuts."""
