"""The process of `guarded`: PIPE FILE SKIPPED..."""

import sys
from pathlib import Path

from zeroline.edge_app.doctor.guarded import report

pipe, file, *skip = sys.argv[1:]
report(int(pipe), Path(file) if file else None, set(skip))
