"""Match distances: the nearest patch in every other image, exactly or faster."""
