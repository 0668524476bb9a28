# SPDX-License-Identifier: Apache-2.0
"""Looking at clouds and defects: figures, pictures and the page."""
