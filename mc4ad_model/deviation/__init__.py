# SPDX-License-Identifier: Apache-2.0
"""How a registered cloud deviates from a template, beyond what normal clouds do."""
