"""One function per statement of the paper that decides it numerically, or by an exact example.

A check returns a `Check`. Its formulas are default arguments, so that a test can hand it a wrong
one and see it fail. `alfs_utils.paper.verdicts` names the check behind each verdict, and the tests
run every one of them.
"""

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Check"]

WIDTH = 76  # what a page shows without breaking a line
SIGNS = {True: "✓ holds", False: "✗ fails"}


@dataclass(frozen=True, repr=False)
class Check:
    """What a check found about one statement; a notebook shows it in a line, counts folded.

    Attributes
    ----------
    printed : bool
        The words as printed, read alone, held in every case tried; False comes with a
        counterexample.
    control : bool
        The negative control failed, as it must: the check is able to say no.
    figures : mapping of str to object
        What was counted or measured: how many cases, the largest gap, the counterexample. A pair
        (n, m) reads "n of m".
    repaired : bool or None
        Whether the changed statement held; None where nothing was changed.
    assumed : bool or None
        Whether the printed words held with one assumption added to them; None where none was.
    empty : bool
        Nothing (or nothing new) meets the premise, or everything meets the conclusion.
    """

    printed: bool
    control: bool
    figures: Mapping[str, Any]
    repaired: bool | None = None
    assumed: bool | None = None
    empty: bool = False

    @property
    def word(self) -> str:
        """What the outcome is called; `alfs_utils.paper.verdicts.KINDS` defines the words."""
        if self.printed and self.empty:
            return "vacuous"
        found = {
            "true": self.printed and False not in (self.repaired, self.assumed),
            "true with a hidden assumption": not self.printed and bool(self.assumed),
            "repaired": not self.printed and bool(self.repaired),
        }
        return next((word for word, applies in found.items() if applies), "false")

    def __repr__(self) -> str:
        lines = (f"  {name}: {_word(value)}" for name, value in self.figures.items())
        shown = (textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in lines)
        # A long answer breaks after a dot alone.
        whole = self._answer().replace(" ", "\xa0").replace("\xa0·\xa0", "\xa0· ")
        return "\n".join([textwrap.fill(whole, WIDTH).replace("\xa0", " "), *shown])

    def _repr_html_(self) -> str:
        cells = ((escape(name), escape(_word(value))) for name, value in self.figures.items())
        rows = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in cells)
        counts = f"<details><summary>counts</summary><table>{rows}</table></details>"
        return f'<p class="alf-check">{self._answer()}</p>{counts}'

    def _answer(self):
        found = [(self.printed, "as printed" + ", but says nothing" * self.empty)]
        found += [(self.assumed, "with the assumption"), (self.repaired, "repaired")]
        words = [f"{SIGNS[holds]} {what}" for holds, what in found if holds is not None]
        words.append("✓ control refused" if self.control else "✗ control NOT REFUSED")
        return " · ".join(words)


def _word(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "{} of {}".format(*value) if isinstance(value, tuple) else str(value)


def listed(values: Iterable) -> str:
    """Values in a row, or "none"."""
    return ", ".join(map(str, values)) or "none"
