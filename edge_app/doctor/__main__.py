"""The process of `guarded`: PIPE FILE DATA SKIPPED..., where a word may be empty."""

import sys
from pathlib import Path

from zeroline.edge_app.doctor.guarded import report

pipe, file, data, *skip = sys.argv[1:]
report(int(pipe), Path(file) if file else None, Path(data) if data else None, set(skip))
