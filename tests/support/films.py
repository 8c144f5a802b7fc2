"""Small videos: MJPEG of given packets, and what PyAV encodes. PyAV is the second reader too."""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SIDE = 96


def picture(number: int) -> Any:
    """Return a plate with a mark that wanders, RGB."""
    blocks = np.random.default_rng(5).integers(60, 200, (12, 12, 3)).astype(np.uint8)
    plate = blocks.repeat(8, axis=0).repeat(8, axis=1)
    plate[16:32, number * 3 % 80 : number * 3 % 80 + 16] = 255
    return plate


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_packets(path: Path, packets: Sequence[bytes], *, rate: int = 10) -> None:
    """Write packets, whatever they hold, as a video of MJPEG."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mjpeg", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p"
        film.start_encoding()
        for number, content in enumerate(packets):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, Fraction(1, rate)
            packet.pts = packet.dts = number
            packet.duration = 1
            packet.is_keyframe = True
            film.mux(packet)


def write(
    path: Path, codec: str, *, frames: int = 24, kind: str | None = None,
    times: Sequence[int] | None = None, options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Encode a video of 10 frames/s, or of frames at given times in milliseconds."""
    base = Fraction(1, 10) if times is None else Fraction(1, 1000)
    with av.open(str(path), "w", format=kind, container_options=container or {}) as film:
        stream = film.add_stream(codec, rate=10, options=options or {})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = base
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = base
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))


def decoded(path: Path) -> list[Any]:
    """Return what PyAV makes of a video, RGB."""
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
