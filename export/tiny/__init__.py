"""Train the bundled backbone `tiny`: a small network learns a larger one's patch tokens."""
