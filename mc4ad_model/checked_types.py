# SPDX-License-Identifier: Apache-2.0
"""The types that configuration is written with: what pydantic checks when a value is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

# Unknown keys and other types are errors; a whole number may stand for a float.
STRICT = ConfigDict(strict=True, extra="forbid")

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
