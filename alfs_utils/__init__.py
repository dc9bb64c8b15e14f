"""Losses, label noise, asymmetry certificates and training for learning with noisy labels.

Each room is a module of its own (`alfs_utils.losses`, `alfs_utils.noise`, ...); importing the
package loads none of them, so it costs nothing.
"""

__version__ = "0.1.0"
