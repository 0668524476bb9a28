# SPDX-License-Identifier: Apache-2.0
"""From scores to metrics, result files and rankings."""
