# SPDX-License-Identifier: Apache-2.0
"""Reports to look at: inspections and evaluations."""
