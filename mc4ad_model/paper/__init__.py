# SPDX-License-Identifier: Apache-2.0
"""The paper's printed tables, and the same experiments here."""
