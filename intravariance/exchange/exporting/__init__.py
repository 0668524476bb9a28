# SPDX-License-Identifier: Apache-2.0
"""Dataset files as the community's folders."""
