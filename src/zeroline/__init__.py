"""zeroline: finds defects on a production line with no training and no labels."""

import os

__version__ = "0.2.0"

# From 1.29 on onnxruntime sends what it runs, with the path of the program and an id of the device,
# to its makers. This keeps it from that, where nobody has said otherwise before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
