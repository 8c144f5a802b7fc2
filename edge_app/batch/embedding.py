"""From image files to tokens: workers read, prepare and embed batches side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.runtime.network.model import Bundle
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


def embed_files(
    files: Sequence[ImageFile],
    bundle: Bundle,
    *,
    white_level: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Embedding:
    """Read, prepare and embed image files; those that cannot be used are named, never dropped.

    Each worker takes a batch from the files to the tokens, so a network of one thread keeps all
    cores busy. Memory: the tokens, and one batch of pictures and of the network's work for each
    worker.

    Parameters
    ----------
    files : sequence of ImageFile
    bundle : Bundle
        Loaded with one thread, if it runs on the CPU.
    white_level : int, optional
        See `read_image`.
    threads : int or None
        Workers; None takes all cores.
    progress : callable, optional
        Called with the number of files done since the last call.
    """
    workers = thread_count(threads)
    buffer = TokenBuffer(len(files))
    kept: list[ImageFile] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
        pending: deque[Future[Embedding]] = deque()
        size = bundle.batch_size
        for start in range(0, len(files), size):
            batch = files[start : start + size]
            pending.append(pool.submit(_embed_batch, batch, bundle, white_level))
            while len(pending) > workers or (pending and start + size >= len(files)):
                done = pending.popleft().result()
                kept += done.files
                problems += done.problems
                if done.tokens is not None:
                    buffer.append(done.tokens)
                if progress is not None:
                    progress(len(done.files) + len(done.problems))
    return Embedding(kept, buffer.tokens() if kept else None, problems)


def _embed_batch(files: Sequence[ImageFile], bundle: Bundle, white_level: int | None) -> Embedding:
    """Take one batch from the files to the tokens."""
    images, readable, kept, problems = [], [], [], []
    for file in files:
        try:
            images.append(bundle.prepare(read_image(file.path, white_level=white_level)))
            readable.append(file)
        except ImageError as error:  # noqa: PERF203 - one bad file must not cost the others
            problems.append(Problem(file.name, str(error)))
    if not images:
        return Embedding([], None, problems)
    tokens = bundle.embed(np.stack(images))
    finite = tokens.finite()
    for file, usable in zip(readable, finite, strict=True):
        if usable:
            kept.append(file)
        else:
            problems.append(Problem(file.name, "the model gives NaN or inf for it"))
    return Embedding(kept, tokens if finite.all() else tokens.select(finite), problems)
