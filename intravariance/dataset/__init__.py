# SPDX-License-Identifier: Apache-2.0
"""The dataset: what it is made of, how it lies in a file, reading it and writing it."""
