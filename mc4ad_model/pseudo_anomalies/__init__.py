# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies that move material and that remove it, made on the surface of a product."""
