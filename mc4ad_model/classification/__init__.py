# SPDX-License-Identifier: Apache-2.0
"""PointNet, PointNet++, Point Transformer and DGCNN with and without MC-Skip (Table 5a)."""
