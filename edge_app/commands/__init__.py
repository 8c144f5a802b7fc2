"""One module for each command of ``zeroline``."""
