# SPDX-License-Identifier: Apache-2.0
"""Training runs, their folders, and evaluations of them."""
