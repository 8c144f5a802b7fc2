"""What a part of the check finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, the figure, and what belongs to it."""

    what: str
    figure: str
    note: str = ""


@dataclass
class Findings:
    """Rows and failures of one part.

    Attributes
    ----------
    rows : list of Row
    failures : list of str
        What did not hold; the part holds where there are none.
    data : dict
        Figures for the JSON file alone.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def row(self, what: str, figure: str, note: str = "") -> None:
        """Add a line to the table."""
        self.rows.append(Row(what, figure, note))

    def hold(self, condition: Any, failure: str) -> None:
        """Note a failure where a condition is false."""
        if not condition:
            self.failures.append(failure)

    def at_most(self, what: str, value: float, limit: float, note: str = "") -> None:
        """Add a figure that must not be over a limit; NaN is."""
        self.row(what, f"{value:.3g}, at most {limit:.3g}", note)
        self.hold(value <= limit, f"{what}: {value:.3g}, at most {limit:.3g} is allowed")

    def at_least(self, what: str, value: float, limit: float, note: str = "") -> None:
        """Add a figure that must not be under a limit; NaN is."""
        self.row(what, f"{value:.3g}, at least {limit:.3g}", note)
        self.hold(value >= limit, f"{what}: {value:.3g}, at least {limit:.3g} is expected")


@dataclass(frozen=True)
class Outcome:
    """What came of a part.

    Attributes
    ----------
    name, says : str
        The part, and what it asserts.
    ran : bool
        Whether it came to its end.
    failures : tuple of str
    rows : tuple of Row
    seconds : float
        Of its process.
    data : dict
    """

    name: str
    says: str
    ran: bool
    failures: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether it ran and nothing failed."""
        return self.ran and not self.failures

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON file."""
        return {**asdict(self), "held": self.held}
