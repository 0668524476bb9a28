# SPDX-License-Identifier: Apache-2.0
"""The surface of a product, estimated from noisy points of it."""
