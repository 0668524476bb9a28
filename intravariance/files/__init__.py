# SPDX-License-Identifier: Apache-2.0
"""Files: written whole or not at all, new folders, checksums, trees read in place."""
