# SPDX-License-Identifier: Apache-2.0
"""What a run has of its machine: device, memory, processes, signals."""
