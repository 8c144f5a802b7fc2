"""What of a picture is looked at: crop, mask, pose and tiles, and the way back to the picture."""
