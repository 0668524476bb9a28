# SPDX-License-Identifier: GPL-3.0-or-later
"""What the defects are made with: cuts, fields of displacement, lines, portions, topology."""
