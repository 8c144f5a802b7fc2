"""The frozen network: its bundle, the sessions that run it, its engines."""
