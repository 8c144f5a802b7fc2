"""Train the bundled backbone `tiny`: a small network learns to repeat a larger one's patch tokens."""
