"""From bytes to pixels: one picture, decoded whole, or the reason why there is none."""
