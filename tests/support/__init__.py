# SPDX-License-Identifier: Apache-2.0
"""Small datasets, scans, runs and referees that several tests share."""
