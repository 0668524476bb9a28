# SPDX-License-Identifier: Apache-2.0
"""The click commands of `iv`, one module each; `pyproject.toml` registers them."""
