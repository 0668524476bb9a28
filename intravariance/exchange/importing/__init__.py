# SPDX-License-Identifier: Apache-2.0
"""Somebody else's clouds as a dataset file."""
