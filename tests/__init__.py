# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

ROOT = Path(__file__).parent.parent  # of the checkout
