# SPDX-License-Identifier: Apache-2.0
"""How near pseudo-anomalies are to real defects, by measures and by a two-sample test."""
