"""Options that several commands share, and what they mean for a bundle."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from zeroline.edge_app.errors import InputError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.loading import load_bundle
from zeroline.runtime.matching.forms import MATCHING
from zeroline.runtime.network.model import DEVICES, Bundle
from zeroline.runtime.stages.degrees import FUSED, Degrees
from zeroline.runtime.stages.threshold import ThresholdRule

Command = TypeVar("Command", bound=Callable[..., Any])


class NumberList(click.ParamType[tuple[int, ...]]):
    """Whole numbers separated by commas, checked one by one; or a word that stands for none."""

    name = "numbers"

    def __init__(
        self,
        *,
        least: int,
        most: int,
        odd: bool = False,
        empty: str | None = None,
    ) -> None:
        self._least = least
        self._most = most
        self._odd = odd
        self._empty = empty

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Turn "1,3,5" into (1, 3, 5)."""
        if isinstance(value, tuple):
            return value
        if self._empty is not None and value == self._empty:
            return ()
        kind = "different odd numbers" if self._odd else "different whole numbers"
        word = f' or "{self._empty}"' if self._empty else ""
        try:
            numbers = tuple(int(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        fits = all(self._least <= n <= self._most and (n % 2 or not self._odd) for n in numbers)
        repeats = len(set(numbers)) < len(numbers)
        if not numbers or not fits or repeats:
            self.fail(
                f"{value!r}: {kind} from {self._least} to {self._most}, with commas,{word} "
                "are expected"
            )
        return numbers


class DegreesType(NumberList):
    """Different odd numbers, or "fused"."""

    def __init__(self) -> None:
        super().__init__(least=1, most=99, odd=True)

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | str:
        """Turn "1,3,5" into (1, 3, 5), and leave "fused"."""
        return FUSED if value == FUSED else super().convert(value, param, ctx)


def described_degrees(degrees: Degrees) -> str:
    """Return degrees in words."""
    return degrees if isinstance(degrees, str) else ", ".join(map(str, degrees))


def described_rule(rule: ThresholdRule) -> str:
    """Return how a threshold is found, in words."""
    if rule.fixed is not None:
        return f"{rule.fixed:g}"
    return f"auto, false-alarm rate {rule.false_alarm_rate:g}"


class ThresholdType(click.ParamType[float | None]):
    """A distance between unit rows, 0 to 2, or "auto" (None) where that is allowed."""

    def __init__(self, *, auto: bool = True) -> None:
        self._auto = auto
        self.name = "auto|NUMBER" if auto else "NUMBER"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Turn "auto" into None and anything else into a distance."""
        if value is None or (self._auto and value == "auto"):
            return None
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not 0 <= number <= 2:
            word = '"auto" or ' if self._auto else ""
            self.fail(f"{value!r}: {word}a number from 0 to 2 is expected")
        return number


class Share(click.FloatRange):
    """A share from 0 to 1; not a number is none."""

    def __init__(self, most: float = 1.0, *, min_open: bool = False) -> None:
        super().__init__(0, most, min_open=min_open)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Turn text into a share."""
        number = float(super().convert(value, param, ctx))
        if number != number:  # noqa: PLR0124 - only NaN differs from itself
            self.fail(f"{value!r} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Rate(Share):
    """A share over 0 and up to a half."""

    def __init__(self) -> None:
        super().__init__(0.5, min_open=True)


class PartPattern(click.ParamType[re.Pattern[str]]):
    """A regular expression with a group."""

    name = "regex"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> re.Pattern[str]:
        """Compile it."""
        try:
            pattern = re.compile(value)
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}")
        if not pattern.groups:
            self.fail(f'{value!r}: a group is expected, such as in "(part\\d+)_view"')
        return pattern


def matching_option(default: str) -> Callable[[Command], Command]:
    """Return the option of how neighbours are found."""
    return click.option(
        "--matching", type=click.Choice(MATCHING), default=default, show_default=True,
        help="How neighbours are found. exact: by float32 products. fast: by the form of matching "
             "that is quickest here. A short measurement picks it.",
    )  # fmt: skip


def draw_option(default: str | None) -> Callable[[Command], Command]:
    """Return the option of which frames get a picture; None: as in the run before."""
    return click.option(
        "--draw", type=click.Choice(["ng", "all", "none"]), default=default,
        show_default=True if default else "as in the run before",
        help="Overlays to write. ng: those that are not OK.",
    )  # fmt: skip


@dataclass(frozen=True)
class ScoreOptions:
    """Options of a scoring run, as given on the command line; None: the bundle's default."""

    model: str
    device: str = "auto"
    matching: str = "exact"
    codegraph: bool = True
    degrees: tuple[int, ...] | str | None = None
    rscin: tuple[int, ...] | None = None
    threshold: float | None = None
    false_alarm_rate: float = 0.01
    subset: int | None = None
    seed: int = 0
    threads: int | None = None
    white_level: int | None = None
    group_by: re.Pattern[str] | None = None

    def parts_of(self, names: Sequence[str]) -> list[str] | None:
        """Return the part that each file shows, by its name; None where each shows its own.

        Raises
        ------
        InputError
            For a name that does not match.
        """
        if self.group_by is None:
            return None
        found = [self.group_by.search(name) for name in names]
        for name, match in zip(names, found, strict=True):
            if match is None or match[1] is None:
                raise InputError(
                    f'"{name}" does not match --group-by "{self.group_by.pattern}": its first '
                    "group is the part's name"
                )
        return [match[1] for match in found if match is not None]

    def open_bundle(self, *, threads: int | None = 1) -> Bundle:
        """Load the bundle on the device; tell where it runs if that is not what was wanted.

        Parameters
        ----------
        threads : int or None
            Of the network, None takes all cores. One: `embed_files` runs as many batches side by
            side as there are cores.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bundle = load_bundle(
                self.model,
                device=self.device,
                threads=threads,
                report=lambda line: click.echo(line, err=True),
            )
        for warning in caught:
            click.echo(f"warning: {warning.message}", err=True)
        return bundle

    def scoring(self, bundle: Bundle, framing: Framing) -> dict[str, Any]:
        """Return the keyword arguments of `score_tokens`, the defaults filled in."""
        defaults = bundle.manifest.defaults
        usual = framing.degrees(defaults.degrees)
        return {
            "size": bundle.size,
            "degrees": usual if self.degrees is None else self.degrees,
            "rscin": defaults.rscin if self.rscin is None else self.rscin,
            "interval": defaults.interval,
            "codegraph": self.codegraph,
            "matching": self.matching,
            "threads": self.threads,
        }

    def rolling(self, bundle: Bundle, framing: Framing) -> dict[str, Any]:
        """Return the keyword arguments of `RollingInspector`, the defaults filled in."""
        kept = ("degrees", "rscin", "interval", "codegraph", "matching", "threads")
        scoring = self.scoring(bundle, framing)
        chosen = {name: scoring[name] for name in kept}
        return chosen | {"threshold": self.rule, "framing": framing}

    @property
    def rule(self) -> ThresholdRule:
        """How thresholds are found."""
        return ThresholdRule(self.threshold, self.false_alarm_rate)

    def described(
        self, bundle: Bundle, *, form: str, framing: Framing, leveled: bool = False
    ) -> Mapping[str, str]:
        """Return the settings in words, for a report.

        `form` of matching was used. `leveled`: each place's own level was taken off the scores.
        """
        scoring = self.scoring(bundle, framing)
        low, high = scoring["interval"]
        source = bundle.manifest.source
        return {
            "Model": f"{bundle.name} ({source.architecture}, {source.weights}, {source.licence})",
            "Looked at": str(framing),
            "Input": f"{bundle.size}×{bundle.size} pixels, {bundle.patches} patches"
            + (" of each tile" if framing.is_tiled else ""),
            "Runs on": f"{bundle.session.device} ({bundle.session.providers[0]})",
            "Degrees": described_degrees(scoring["degrees"]),
            "RsCIN": ", ".join(map(str, scoring["rscin"])) or "off",
            "Interval": f"{low:g} to {high:g}",
            "Matching": f"{self.matching} ({form})",
            "Recurring defects": "looked for" if self.codegraph else "not looked for",
            "Scores": "less each place's own level" if leveled else "as matched",
            "Threshold": described_rule(self.rule),
            "Photographs of one part": f"by {self.group_by.pattern}" if self.group_by else "none",
            "Subsets": f"of {self.subset}, seed {self.seed}" if self.subset else "none",
        }


_OPTIONS = (
    click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
                 help="Bundled model, or the folder of a bundle."),
    click.option("--output", type=click.Path(path_type=Path, file_okay=False),
                 default=Path("results"), show_default=True, help="Folder for the results."),
    click.option("--degrees", type=DegreesType(), metavar="1,3,5|fused",
                 help="Neighbourhood sizes of LNAMD, or fused.  [default: the model's]"),
    click.option("--rscin", type=NumberList(least=1, most=1000, empty="off"), metavar="1,2,3|off",
                 help="Neighbourhood sizes of RsCIN, or off.  [default: the model's]"),
    click.option("--device", type=click.Choice(DEVICES), default="auto",
                 show_default=True, help="Device that runs the network."),
    matching_option("exact"),
    click.option("--codegraph/--no-codegraph", default=True, show_default=True,
                 help="Search for recurring defects: defects that several images share."),
    click.option("--threshold", type=ThresholdType(), default="auto", show_default=True,
                 help="An image with a higher score is NG. A distance, 0 to 2."),
    click.option("--false-alarm-rate", type=Rate(), default=0.01,
                 show_default=True,
                 help="Share of good images that auto may call NG, as a mean. Of 100 good images "
                      "at 0.01 none to three are NG. Under 0.005 it is extrapolated."),
    click.option("--subset", type=click.IntRange(min=2), metavar="N",
                 help="Score random subsets of about N images apart. For folders that are too "
                      "large for one set."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0,
                 show_default=True, help="Seed of the random subsets."),
    click.option("--group-by", type=PartPattern(), metavar="REGEX",
                 help="For several photographs of one part: a regular expression on the name of a "
                      "file. Its first group is the part. Photographs of one part are not compared "
                      "with each other."),
    click.option("--threads", type=click.IntRange(1, 256), metavar="N",
                 help="CPU threads.  [default: all cores]"),
    click.option("--white-level", type=click.IntRange(1, 65535), metavar="N",
                 help="Value of white in 16-bit files. 12 bits in the low bits: 4095.  "
                      "[default: 65535]"),
)  # fmt: skip


def scoring_options(command: Command) -> Command:
    """Add the options that `score` and `evaluate` share to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_options(values: dict[str, Any]) -> ScoreOptions:
    """Move the shared options out of a command's values."""
    return ScoreOptions(**{name: values.pop(name) for name in ScoreOptions.__dataclass_fields__})
