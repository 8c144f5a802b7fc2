"""A camera: an RTSP server (GStreamer's) on this machine, whose frames tell when they were made.

It is run by the Python that has PyGObject, the system's one: ``python3 rtsp_server.py PORT RATE``.
It exits with `MISSING` where a part of GStreamer is not installed.
"""

import sys
import time

MISSING = 77
try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(MISSING)

ELEMENTS = ("appsrc", "x264enc", "rtph264pay")
SIDE, BLOCK, BITS = 256, 32, 24  # luma: eight blocks a row, bits of the time in ms, lowest first


def picture(stamp: int) -> bytes:
    """Return a grey I420 picture whose first rows of blocks are the bits of `stamp`."""
    rows = []
    for first in range(0, BITS, 8):
        blocks = (b"\xdc" if stamp >> bit & 1 else b"\x24" for bit in range(first, first + 8))
        rows.append(b"".join(block * BLOCK for block in blocks) * BLOCK)
    luma = b"".join(rows)
    return luma + b"\x80" * (SIDE * SIDE * 3 // 2 - len(luma))


def serve(port: int, rate: int) -> None:
    """Serve H.264 under ``/line`` until the process is ended."""
    Gst.init(None)
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.stderr.write(f"GStreamer has no {', '.join(missing)}\n")
        sys.exit(MISSING)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=str(port))
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(
        "( appsrc name=lens is-live=true do-timestamp=true format=time "
        f"caps=video/x-raw,format=I420,width={SIDE},height={SIDE},framerate={rate}/1 "
        f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={rate} threads=1 "
        "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )

    def configured(_: object, media: GstRtspServer.RTSPMedia) -> None:
        lens = media.get_element().get_by_name("lens")

        def push() -> bool:
            stamp = int(1000 * time.monotonic()) % 2**BITS
            lens.emit("push-buffer", Gst.Buffer.new_wrapped(picture(stamp)))
            return True

        ticking = GLib.timeout_add(1000 // rate, push)
        media.connect("unprepared", lambda _: GLib.source_remove(ticking))

    factory.connect("media-configure", configured)
    server.get_mount_points().add_factory("/line", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} cannot be had")
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
