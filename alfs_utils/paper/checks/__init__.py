"""One function per statement of the paper that decides it numerically, or by an exact example.

A check returns a `Check`. Its formulas are default arguments, so that a test can hand it a wrong
one and see it fail. The verdict table (`alfs_utils.paper.VERDICTS`) names the check behind each
verdict, and the tests run every one of them.
"""

import textwrap
from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """What a check found about one statement.

    Attributes
    ----------
    printed : bool
        The statement as printed held in every case tried; False comes with a counterexample.
    control : bool
        The negative control failed, as it must: the check is able to say no.
    line : str
        The figures: how many cases, the largest gap, both outcomes seen, the counterexample.
    repaired : bool or None
        Whether the repaired statement held; None where nothing needed repair.
    """

    printed: bool
    control: bool
    line: str
    repaired: bool | None = None

    def __str__(self):
        found = {"as stated": self.printed, "repaired": self.repaired, "control": self.control}
        marks = {True: "holds", False: "fails"}
        marks_of_control = {True: "fails as it must", False: "DID NOT FAIL"}
        words = [
            f"{name} {(marks_of_control if name == 'control' else marks)[value]}"
            for name, value in found.items()
            if value is not None
        ]
        return f"{'; '.join(words)}\n{textwrap.fill(self.line, 84)}"
