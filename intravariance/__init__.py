# SPDX-License-Identifier: Apache-2.0
"""iv: builds, checks and reads the Anomaly-IntraVariance 3D anomaly-detection dataset."""
