# SPDX-License-Identifier: Apache-2.0
"""Is a dataset whole, true to its geometry, and free of shortcuts?"""
