"""A source of which the first frame was looked at before the line begins."""

from __future__ import annotations

from collections.abc import Iterator

from zeroline.edge_app.captured import Captured, FrameSource


class PeekedSource:
    """A source that can tell the size of its frames, by the first one that comes.

    Parameters
    ----------
    source : FrameSource
        Iterated over from here on.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source, self._frames = source, iter(source)
        self._waiting: list[Captured] = []
        self._size: tuple[int, int] | None = None
        self._begun = False
        self.live = source.live

    @property
    def incomplete(self) -> bool:
        """Whether frames are known to be lost that should be there."""
        return self._source.incomplete

    @property
    def announced(self) -> int | None:
        """Frames that are to come; None where nobody knows."""
        return self._source.announced

    def size(self) -> tuple[int, int] | None:
        """Return height and width of the newest frame; None where none has come.

        Before the iteration it waits for the first one. What came before that is not lost: it is
        yielded first. Later it takes no frame from whoever iterates.
        """
        if not self._begun and self._size is None:
            for captured in self._frames:
                self._waiting.append(captured)
                if self._measured(captured):
                    break
        return self._size

    def _measured(self, captured: Captured) -> bool:
        if captured.frame is not None:
            height, width = captured.frame.shape[:2]
            self._size = height, width
        return captured.frame is not None

    def __iter__(self) -> Iterator[Captured]:
        """Yield all frames."""
        self._begun = True
        yield from self._waiting
        for captured in self._frames:
            self._measured(captured)
            yield captured

    def finished(self, captured: Captured, /) -> None:
        """Take note that a frame's verdict has left."""
        self._source.finished(captured)

    def close(self) -> None:
        """Let go of the device."""
        self._source.close()
