# SPDX-License-Identifier: GPL-3.0-or-later
"""Designs of furniture and doors."""
