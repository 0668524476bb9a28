# SPDX-License-Identifier: Apache-2.0
"""Scoring of clouds of any origin with a trained run."""
