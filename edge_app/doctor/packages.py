"""Python and packages, against what zeroline needs and what was tested."""

from __future__ import annotations

import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.util import find_spec
from pathlib import Path

from zeroline.edge_app.doctor.findings import Check, Finding, fail, ok, reason_of, warning
from zeroline.runtime.errors import extra_hint

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*])?\s*([^;]*)(?:;.*extra == ['\"]([\w-]+)['\"])?")
_BOUND = re.compile(r"(>=|<=|==|!=|<|>)\s*([\d.*]+)")
_PINNED = re.compile(r"([\w.-]+)==([^;\s]+)(?:;\s*python_version\s*(<|>=)\s*\"([\d.]+)\")?")
#: Extras without which there is no station, and those that are looked at where they are installed.
_NEEDED, _OPTIONAL = ("", "app"), ("cpu", "cuda12", "cuda13", "jetpack6")
#: Modules that are not called as their package is.
_MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
#: What CI installs. It is constraints.txt: a link in a clone, a copy in a wheel.
_TESTED = "tested.txt"

Numbers = tuple[int, ...]


def numbers_of(text: str) -> Numbers:
    """Return a version's release numbers: (4, 9, 0) of "4.9.0.80+local" is (4, 9, 0, 80)."""
    release = re.match(r"[\d.]+", text)
    return tuple(int(part) for part in re.findall(r"\d+", release[0])) if release else ()


def fits(found: str, bounds: str) -> bool:
    """Tell whether a version lies in bounds such as ``>=1.21,<1.27`` or ``==12.6.*``."""
    here = numbers_of(found)
    for sign, bound in _BOUND.findall(bounds):
        there = numbers_of(bound)
        if bound.endswith("*"):
            equal = here[: len(there)] == there
            if equal != (sign == "=="):
                return False
            continue
        width = max(len(here), len(there))
        one, other = (n + (0,) * (width - len(n)) for n in (here, there))
        holds = {
            ">=": one >= other, "<=": one <= other, "==": one == other,
            "!=": one != other, "<": one < other, ">": one > other,
        }  # fmt: skip
        if not holds[sign]:
            return False
    return True


def python_findings() -> list[Finding]:
    """Compare Python with what zeroline needs and what it is tested with."""
    about = metadata("zeroline")
    here = platform.python_version()
    needed = about["Requires-Python"] or ""
    tested = re.findall(r"Python :: (3\.\d+)", "\n".join(about.get_all("Classifier") or ()))
    text = f"{here} in {sys.prefix}"
    if not fits(here, needed):
        return [fail("python", f"{text}: {needed} is needed", "make an environment by a newer one")]
    if here.rpartition(".")[0] not in tested:
        known = ", ".join(tested)
        return [warning("python", f"{text}: tested are {known}", "take one of those")]
    return [ok("python", text)]


def package_findings() -> list[Finding]:
    """Compare installed packages with what zeroline needs and what was tested."""
    bounds, extras = _wanted()
    tested = tested_versions()
    found, fitting = list[Finding](), 0
    for name, wanted in sorted(bounds.items()):
        needed = extras[name] & set(_NEEDED)
        try:
            here = version(name)
        except PackageNotFoundError:
            if needed and not (name.startswith("opencv") and find_spec("cv2")):
                found.append(fail(f"package {name}", "not installed", _install(needed)))
            continue
        if not any(fits(here, one) for one in wanted):
            text = f"{here}: {' or '.join(wanted)} is needed"
            found.append(fail(f"package {name}", text, _install(extras[name])))
        elif name in tested and numbers_of(here)[:1] > numbers_of(tested[name])[:1]:
            text = f"{here}: tested is {tested[name]}"
            cure = f'pip install "{name}=={tested[name]}"'
            found.append(warning(f"package {name}", text, cure))
        else:
            fitting += 1
    return [ok("packages", f"{fitting} as needed, zeroline {version('zeroline')}"), *found]


def _wanted() -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """Return the bounds of each package, and the extras that ask for it."""
    bounds: dict[str, list[str]] = defaultdict(list)
    extras: dict[str, set[str]] = defaultdict(set)
    for line in requires("zeroline") or ():
        match = _REQUIREMENT.match(line)
        if match and (match[3] or "") in (*_NEEDED, *_OPTIONAL):
            bounds[match[1].lower()].append(match[2].strip())
            extras[match[1].lower()].add(match[3] or "")
    return bounds, extras


def import_checks() -> Iterator[Check]:
    """Yield a check for each package that a station needs, which imports it, and one that counts.

    OpenCV and onnxruntime have checks of their own.
    """
    here = list[str]()
    for name, extras in sorted(_wanted()[1].items()):
        if extras & set(_NEEDED) and not name.startswith("opencv"):
            yield Check(f"package {name}", partial(_imported, name, here))
    yield Check("imports", lambda: [ok("imports", f"{len(here)} packages can be imported")])


def _imported(name: str, here: list[str]) -> list[Finding]:
    """Import a package; add its name to those that are here, or return why it cannot be."""
    try:
        installed = version(name)
    except PackageNotFoundError:  # it has a line already
        return []
    module = _MODULES.get(name, name.replace("-", "_"))
    try:
        import_module(module)
    except Exception as error:  # noqa: BLE001 - half an installation, a library that it needs
        text = f"{installed} is installed, and cannot be imported: {reason_of(error)}"
        other = isinstance(error, ImportError) and (error.name or "").partition(".")[0]
        cure = f'pip install --force-reinstall --no-deps "{name}=={installed}"'
        if other and other != module:
            cure = f"mend or install {other}, which it needs"
        return [fail(f"package {name}", text, cure)]
    here.append(name)
    return []


def _install(extras: set[str]) -> str:
    extra = next(iter(sorted(extras - {""})), "")
    return f"in a clone of zeroline: {extra_hint(extra)}" if extra else "install zeroline anew"


def tested_versions() -> dict[str, str]:
    """Return the version of each package that CI installs for this Python."""
    lines = Path(__file__).with_name(_TESTED).read_text(encoding="utf-8").splitlines()
    tested = {}
    for match in filter(None, map(_PINNED.match, lines)):
        package, pinned, sign, bound = match.groups()
        if sign is None or fits(platform.python_version(), f"{sign}{bound}"):
            tested[package.lower()] = pinned
    return tested
