"""From image files to tokens: workers read, prepare and embed batches side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b

import numpy as np

from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.copies import thumbnail
from zeroline.runtime.errors import FrameError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.view import View
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.results import Reason
from zeroline.runtime.tokens import TokenBuffer, Tokens
from zeroline.runtime.workers import thread_count


@dataclass(frozen=True)
class Problem:
    """An image that was left out, and why.

    Attributes
    ----------
    name : str
        Of the image.
    reason : str
        In words.
    verdict : Reason or None
        Why it is UNCERTAIN, where the picture is sound and shows no whole part; None where it
        could not be used at all.
    """

    name: str
    reason: str
    verdict: Reason | None = None


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
    absent : list of array, shape (P,), bool
        For each file the patches whose part lies outside the picture.
    turns : list of float
        Degrees by which each part is turned from the taught one; 0 where that was not looked for.
    """

    files: list[ImageFile]
    tokens: Tokens | None
    problems: list[Problem]
    pixels: list[bytes] = field(default_factory=list)
    thumbnails: list[Float32] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    absent: list[Bools] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)

    def add(self, other: Embedding) -> None:
        """Add all but the tokens of another one."""
        for about in fields(self):
            if about.name != "tokens":
                getattr(self, about.name).extend(getattr(other, about.name))


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
    whole = Embedding([], None, [])
    with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
        pending: deque[Future[Embedding]] = deque()
        size = bundle.batch_size
        for start in range(0, len(files), size):
            batch = files[start : start + size]
            pending.append(pool.submit(_embed_batch, batch, bundle, framer, white_level))
            while len(pending) > workers or (pending and start + size >= len(files)):
                done = pending.popleft().result()
                whole.add(done)
                if done.tokens is not None:
                    buffer.append(done.tokens)
                if progress is not None:
                    progress(len(done.files) + len(done.problems))
    return replace(whole, tokens=buffer.tokens() if whole.files else None)


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
    digests, looks, readable, problems = [], [], [], []
    for file in files:
        try:
            frame = read_image(file.path, white_level=white_level)
            look = framer.look(frame)
            if look.problem:
                problems.append(Problem(file.name, look.problem, Reason(look.reason)))
                continue
            images.append(np.stack([bundle.prepare(image) for image in look.images]))
            digests.append(_digest(frame))
            looks.append(look)
            readable.append(file)
        except (ImageError, FrameError) as error:
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
    usable = np.flatnonzero(finite).tolist()
    nowhere = np.zeros(framer.grid.patches, bool)
    seen = [looks[n] for n in usable]
    return Embedding(
        [readable[n] for n in usable],
        tokens if finite.all() else tokens.select(finite),
        problems,
        [digests[n] for n in usable],
        [thumbnail(images[n]) for n in usable],
        [look.view for look in seen],
        [nowhere if look.absent is None else look.absent for look in seen],
        [0.0 if look.pose is None else look.pose.turn for look in seen],
    )
