# SPDX-License-Identifier: Apache-2.0
"""The files of a dataset: one, or the shards of a build, which are read as one."""
