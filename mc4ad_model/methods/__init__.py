# SPDX-License-Identifier: Apache-2.0
"""Detection methods behind one protocol."""
