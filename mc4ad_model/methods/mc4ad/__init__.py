# SPDX-License-Identifier: Apache-2.0
"""MC4AD: CFP-Net, its pseudo-anomalies, losses, training and checkpoints."""
