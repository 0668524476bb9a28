# SPDX-License-Identifier: Apache-2.0
"""CFP-Net that is given how a registered cloud deviates from its template."""
