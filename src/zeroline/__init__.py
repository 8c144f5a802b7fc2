"""zeroline: finds defects on a production line with no training and no labels."""

__version__ = "0.1.0"
