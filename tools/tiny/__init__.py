"""Train the bundled backbone `tiny`: a small network learns a larger one's patch tokens.

Run with ``PYTHONPATH=tools``, in an environment with the extra ``train``.
"""

import zeroline  # noqa: F401 - first: it keeps onnxruntime from telling its maker what it runs
