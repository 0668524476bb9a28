# SPDX-License-Identifier: Apache-2.0
"""The machine that a run is on: device, memory, ranks, signals."""
