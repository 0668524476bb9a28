# SPDX-License-Identifier: Apache-2.0
"""A dataset as Parquet files for the Hugging Face Hub, and back."""
