"""The local interface: health, metrics, state, pictures, and what a station can be told."""
