# SPDX-License-Identifier: Apache-2.0
"""Methods that keep features of normal clouds in a memory bank, and what they share."""
