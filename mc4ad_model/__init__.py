# SPDX-License-Identifier: Apache-2.0
"""The reference benchmark on datasets made by `intravariance`."""
