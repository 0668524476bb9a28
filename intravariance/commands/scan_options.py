# SPDX-License-Identifier: Apache-2.0
"""Options of the commands that read scans: apart, as their readers take time to import."""

from __future__ import annotations

import click

from intravariance.cloud_files.choices import DROP_NO_RETURN

drop_no_return_option = click.option(
    DROP_NO_RETURN,
    is_flag=True,
    help="Leave out points that are NaN or (0, 0, 0), with their labels: places of an organised "
    "scan where the sensor saw nothing.",
)
