"""The store: what a station has seen and said, kept so that a kill or a power cut loses nothing."""
