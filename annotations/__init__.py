# SPDX-License-Identifier: Apache-2.0
"""Labels: the defect vocabulary (what each defect type is and which of its points are labelled)."""
