# SPDX-License-Identifier: Apache-2.0
"""Hand labels: given out as clouds for CloudCompare, taken back, merged, and compared with ours.

`giving_out` writes a folder, `taking_back` reads it again, `relabelling` makes a new dataset file
of it, `comparing` measures agreement, `dataset.label_origin` says where each label of a sample
comes from.
"""
