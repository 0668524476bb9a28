# SPDX-License-Identifier: Apache-2.0
"""Other people's layouts, in and out: importing, exporting, Parquet."""
