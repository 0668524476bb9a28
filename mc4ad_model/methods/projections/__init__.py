# SPDX-License-Identifier: Apache-2.0
"""Images of clouds, and a 2-D network that describes them."""
