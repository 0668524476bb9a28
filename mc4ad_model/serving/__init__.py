# SPDX-License-Identifier: Apache-2.0
"""A small HTTP service that scores clouds with a trained run."""
