# SPDX-License-Identifier: Apache-2.0
"""How a dataset file comes to be: files of samples, and the folder where it is made."""
