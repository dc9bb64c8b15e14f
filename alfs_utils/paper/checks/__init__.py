"""One function per statement of the paper that decides it numerically, or by an exact example.

A check returns a `Check`. Its formulas are default arguments, so that a test can hand it a wrong
one and see it fail. `alfs_utils.paper.verdicts` names the check behind each verdict, and the tests
run every one of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Check"]


@dataclass(frozen=True, repr=False)
class Check:
    """What a check found about one statement; a notebook shows it as a table.

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
        return "\n".join([self._answer(), *lines])

    def _repr_html_(self) -> str:
        cells = ((escape(name), escape(_word(value))) for name, value in self.figures.items())
        rows = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in cells)
        return f"<p>{self._answer()}</p><table>{rows}</table>"

    def _answer(self):
        answers = {True: "holds", False: "fails"}
        words = [f"as stated {answers[self.printed]}" + ", but says nothing" * self.empty]
        if self.assumed is not None:
            words.append(f"with the assumption {answers[self.assumed]}")
        if self.repaired is not None:
            words.append(f"repaired {answers[self.repaired]}")
        words.append("control fails as it must" if self.control else "control DID NOT FAIL")
        return "; ".join(words)


def _word(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "{} of {}".format(*value) if isinstance(value, tuple) else str(value)


def listed(values: Iterable) -> str:
    """Values in a row, or "none"."""
    return ", ".join(map(str, values)) or "none"
