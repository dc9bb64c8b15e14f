"""The one command: ``python -m alfs_utils COMMAND``, where ``COMMAND --help`` says the rest."""

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "sweep": "train the runs of the paper's tables and figures",
    "webvision": "verify the images of Table 3, train its rows",
    "features": "make the pictures of Figure 5 from trained weights",
    "human": "convert human labels, write their counts",
    "census": "train the short runs on lost classes",
}
USAGE = "usage: python -m alfs_utils COMMAND ...\n\n" + "\n".join(
    f"  {name:<10} {what}" for name, what in COMMANDS.items()
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of `COMMANDS`; returns the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    name, *rest = argv or ["--help"]
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    if name not in COMMANDS:
        print(
            f"error: command: expected one of {', '.join(COMMANDS)}, got {name!r}", file=sys.stderr
        )
        return 2
    try:  # by name: no room below may import the floor that judges the paper
        commands = import_module("alfs_utils.paper.commands")
    except ModuleNotFoundError as error:
        if error.name not in ("alfs_utils.paper", "alfs_utils.paper.commands"):
            raise
        print(
            "error: the installed package has no tables of the paper; this command needs a "
            "checkout of the book",
            file=sys.stderr,
        )
        return 2
    return getattr(commands, name)(rest)


if __name__ == "__main__":
    sys.exit(main())
