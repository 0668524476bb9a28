# SPDX-License-Identifier: Apache-2.0
"""Dataset cards, and what they say of licence, citation and labels."""
