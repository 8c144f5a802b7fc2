"""For machines without threadpoolctl, where BLAS was held to one thread from outside."""

import os
from contextlib import AbstractContextManager

assert os.environ.get("OPENBLAS_NUM_THREADS") == "1"


class _Limit(AbstractContextManager):
    def restore_original_limits(self):
        pass

    def __exit__(self, *_):
        pass


class ThreadpoolController:
    def limit(self, **_):
        return _Limit()
