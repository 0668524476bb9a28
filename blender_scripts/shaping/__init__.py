# SPDX-License-Identifier: GPL-3.0-or-later
"""Building blocks of the defects: cuts, fields of displacement, lines, portions, topology."""
