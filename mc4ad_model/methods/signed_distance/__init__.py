# SPDX-License-Identifier: Apache-2.0
"""The signed distance from a template's surface as a score: learnt by a network, or exact."""
