"""The program: the command ``zeroline``, and ``python -m zeroline.edge_app``."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the command line; without click, which it rests on, the doctor alone."""
    try:
        import click  # noqa: F401 - asked whether it is there
    except Exception as error:  # noqa: BLE001 - half an installation raises anything
        sys.exit(_without_click(error))
    from zeroline.edge_app.cli import main as run

    run(prog_name="zeroline")


def _without_click(error: Exception) -> int:
    from zeroline.runtime.errors import in_one_line

    reason = in_one_line(error)
    sys.stderr.write(f"Error: click cannot be imported: {reason}; install zeroline anew\n")
    if sys.argv[1:2] == ["doctor"]:
        from zeroline.edge_app.doctor.guarded import examine_guarded

        files = [Path(one) for one in sys.argv[2:] if not one.startswith("-")]
        examine_guarded(next(iter(files), None), tell=print)
    return 1


if __name__ == "__main__":
    main()
