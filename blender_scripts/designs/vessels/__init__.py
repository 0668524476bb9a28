# SPDX-License-Identifier: GPL-3.0-or-later
"""Designs of vessels, and of cones, which are turned like one."""
