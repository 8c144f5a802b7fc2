"""From image files to tokens: workers read, prepare and embed batches side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.runtime.arrays import Float32
from zeroline.runtime.copies import thumbnail
from zeroline.runtime.errors import FrameError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.view import View
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
    """Tokens of the files that could be used, and the files that could not.

    Attributes
    ----------
    files : list of ImageFile
        Those that could be used.
    tokens : Tokens or None
        None where no file could be used.
    problems : list of Problem
    pixels : list of bytes
        For each file a digest of its decoded pixels: equal ones are the same picture.
    thumbnails : list of array
        From `zeroline.runtime.copies.thumbnail`, for each file.
    views : list of View
        Where in each file's picture the network's square lies.
    """

    files: list[ImageFile]
    tokens: Tokens | None
    problems: list[Problem]
    pixels: list[bytes] = field(default_factory=list)
    thumbnails: list[Float32] = field(default_factory=list)
    views: list[View] = field(default_factory=list)


def embed_files(
    files: Sequence[ImageFile],
    bundle: Bundle,
    *,
    framer: Framer,
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
    framer : Framer
        Says what of each picture is looked at.
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
    pixels: list[bytes] = []
    thumbnails: list[Float32] = []
    views: list[View] = []
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
        pending: deque[Future[Embedding]] = deque()
        size = bundle.batch_size
        for start in range(0, len(files), size):
            batch = files[start : start + size]
            pending.append(pool.submit(_embed_batch, batch, bundle, framer, white_level))
            while len(pending) > workers or (pending and start + size >= len(files)):
                done = pending.popleft().result()
                kept += done.files
                pixels += done.pixels
                thumbnails += done.thumbnails
                views += done.views
                problems += done.problems
                if done.tokens is not None:
                    buffer.append(done.tokens)
                if progress is not None:
                    progress(len(done.files) + len(done.problems))
    return Embedding(kept, buffer.tokens() if kept else None, problems, pixels, thumbnails, views)


def _digest(frame: Frame) -> bytes:
    """Return what is equal for pictures with the same pixels."""
    digest = blake2b(str(frame.shape).encode())
    digest.update(np.ascontiguousarray(frame).data)
    return digest.digest()


def _embed_batch(
    files: Sequence[ImageFile], bundle: Bundle, framer: Framer, white_level: int | None
) -> Embedding:
    """Take one batch from the files to the tokens."""
    images: list[Float32] = []  # (T, 3, S, S) of each file
    digests, views, readable, problems = [], [], [], []
    for file in files:
        try:
            frame = read_image(file.path, white_level=white_level)
            look = framer.look(frame)
            images.append(np.stack([bundle.prepare(image) for image in look.images]))
            digests.append(_digest(frame))
            views.append(look.view)
            readable.append(file)
        except (ImageError, FrameError) as error:  # noqa: PERF203 - one bad file must not cost the others
            problems.append(Problem(file.name, str(error)))
    if not images:
        return Embedding([], None, problems)
    tokens = framer.joined(bundle.embed(np.concatenate(images)))
    finite = tokens.finite()
    problems += [
        Problem(file.name, "the model gives NaN or inf for it")
        for file, usable in zip(readable, finite, strict=True)
        if not usable
    ]
    return Embedding(
        [file for file, usable in zip(readable, finite, strict=True) if usable],
        tokens if finite.all() else tokens.select(finite),
        problems,
        [digest for digest, usable in zip(digests, finite, strict=True) if usable],
        [thumbnail(image) for image, usable in zip(images, finite, strict=True) if usable],
        [view for view, usable in zip(views, finite, strict=True) if usable],
    )
