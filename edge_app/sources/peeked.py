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
        """Return height and width of the first frame; None where none comes.

        What came before it is not lost: it is yielded first.
        """
        for captured in self._frames:
            self._waiting.append(captured)
            if captured.frame is not None:
                height, width = captured.frame.shape[:2]
                return height, width
        return None

    def __iter__(self) -> Iterator[Captured]:
        """Yield all frames."""
        yield from self._waiting
        yield from self._frames

    def finished(self, captured: Captured, /) -> None:
        """Take note that a frame's verdict has left."""
        self._source.finished(captured)

    def close(self) -> None:
        """Let go of the device."""
        self._source.close()
