"""For machines without hypothesis: its tests are skipped, the others of the same file run."""

import pytest


def given(*_, **__):
    def decorate(_):
        @pytest.mark.skip(reason="hypothesis is not here")
        def test():
            pass

        return test

    return decorate


def settings(*_, **__):
    return lambda function: function


class _Anything:
    def __getattr__(self, _):
        return lambda *_, **__: _Anything()


strategies = _Anything()
