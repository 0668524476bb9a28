# SPDX-License-Identifier: GPL-3.0-or-later
"""Designs of devices and fittings."""
