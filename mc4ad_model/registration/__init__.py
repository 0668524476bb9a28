# SPDX-License-Identifier: Apache-2.0
"""Poses of clouds, found by registration to templates."""
