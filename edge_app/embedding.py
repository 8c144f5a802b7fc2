"""From image files to tokens: files are read ahead by threads while the network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.runtime.bundle import Bundle
from zeroline.runtime.scoring import BATCH
from zeroline.runtime.tokens import TokenBuffer, Tokens
from zeroline.runtime.workers import thread_count


@dataclass(frozen=True)
class Problem:
    """An image that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Embedding:
    """Tokens of the files that could be used, and the files that could not."""

    files: list[ImageFile]
    tokens: Tokens | None  # None where no file could be used
    problems: list[Problem]


_Prepared = npt.NDArray[np.float32] | ImageError


def embed_files(
    files: Sequence[ImageFile],
    bundle: Bundle,
    *,
    white_level: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Embedding:
    """Read, prepare and embed image files; those that cannot be used are named, never dropped.

    Memory: the tokens, and two batches of pictures.

    Parameters
    ----------
    files : sequence of ImageFile
    bundle : Bundle
    white_level : int, optional
        See `read_image`.
    threads : int or None
        Readers; None takes all cores.
    progress : callable, optional
        Called with the number of files done since the last call.
    """

    def load(file: ImageFile) -> _Prepared:
        try:
            return bundle.prepare(read_image(file.path, white_level=white_level))
        except ImageError as error:
            return error

    buffer = TokenBuffer(len(files))
    kept: list[ImageFile] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(thread_count(threads), thread_name_prefix="read") as readers:
        for batch, loaded in _read_ahead(readers, load, files):
            images = []
            good = []
            for file, image in zip(batch, loaded, strict=True):
                if isinstance(image, ImageError):
                    problems.append(Problem(file.name, str(image)))
                else:
                    images.append(image)
                    good.append(file)
            if images:
                tokens = bundle.embed(np.stack(images))
                finite = tokens.finite()
                for file, usable in zip(good, finite, strict=True):
                    if usable:
                        kept.append(file)
                    else:
                        problems.append(Problem(file.name, "the model gives NaN or inf for it"))
                buffer.append(tokens if finite.all() else tokens.select(finite))
            if progress is not None:
                progress(len(batch))
    return Embedding(kept, buffer.tokens() if kept else None, problems)


def _read_ahead(
    readers: ThreadPoolExecutor,
    load: Callable[[ImageFile], _Prepared],
    files: Sequence[ImageFile],
) -> Iterator[tuple[Sequence[ImageFile], list[_Prepared]]]:
    """Yield batches with their prepared images, the next batch being read meanwhile."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    waiting: list[Future[_Prepared]] = []
    for place, batch in enumerate(batches):
        current = waiting or [readers.submit(load, file) for file in batch]
        following = batches[place + 1] if place + 1 < len(batches) else []
        waiting = [readers.submit(load, file) for file in following]
        yield batch, [future.result() for future in current]
