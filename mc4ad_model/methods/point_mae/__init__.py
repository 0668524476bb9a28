# SPDX-License-Identifier: Apache-2.0
"""Point-MAE: features of groups of points, learnt by reconstructing groups that are hidden."""
