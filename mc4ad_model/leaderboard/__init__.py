# SPDX-License-Identifier: Apache-2.0
"""Leaderboards: methods of several settings and seeds, evaluated and compared on one file."""
