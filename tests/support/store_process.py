"""A station's store in a process of its own, to be killed and to be traced.

``python -m support.store_process DATA COUNT`` writes parts, and tells each number once its ticket
is set: ``a 17``. COUNT 0: until it is killed. Before, from its standard input, it is told how often
to begin anew: each line makes a process, whose number it tells (``pid 4711``), and whose end
(``dead``). What all of them import is imported once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from support.stored_parts import part_message
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.store.store import Store
from zeroline.runtime.results import Verdict


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write_parts(data: Path, count: int) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    storage = Storage(keep_free_gb=0, ok_sample=0)
    with Store(data, storage, station="press-4", events=lambda event: tell(str(event))) as store:
        first = number = store.next_number()
        while not count or number < first + count:
            verdict = Verdict.NG if number % 3 == 1 else Verdict.OK
            ticket = store.write(part_message(number, verdict=verdict, frame=frame))
            if not ticket.wait(10):
                tell(f"late {number}")
            tell(f"a {number}")
            number += 1


if __name__ == "__main__":
    folder, parts = Path(sys.argv[1]), int(sys.argv[2])
    opencv("to keep pictures")
    if parts:
        write_parts(folder, parts)
        sys.exit()
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            write_parts(folder, 0)
            os._exit(0)
        tell(f"pid {child}")
        os.waitpid(child, 0)
        tell("dead")
