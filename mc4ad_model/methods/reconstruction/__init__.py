# SPDX-License-Identifier: Apache-2.0
"""Methods that reconstruct a cloud as if it were normal, and score what differs."""
