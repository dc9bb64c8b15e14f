"""Add the checksum to records from before there were checksums, once.

    python tools/seal_records.py LEDGER                 every record of a ledger, in its place
    python tools/seal_records.py FILE.jsonl LEDGER      the lines of a packed file, into a ledger

Each record is checked in full first; what is wrong is named and left as it is. A record that has
its checksum, or that the ledger has already, stays as it is.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from alfs_utils import records


def seal(where: str, text: bytes, ledger: Path) -> bool:
    """Write the sealed record of a text into the ledger; returns whether it is there now."""
    try:
        record = records.parse(text, sealed=b'"sha256": ' in text)
        name = f"{record['id']}.json"
        if Path(where).suffix == ".json" and Path(where).name != name:
            raise ValueError(f"holds the record of another run, {record['id']}")
        path = ledger / record["config"]["dataset"] / name
        if "sha256" not in record and (path == Path(where) or not path.exists()):
            records.write(records.seal(record), ledger)
        return True
    except (OSError, ValueError) as error:
        print(f"{where}: left as it is: {error}", file=sys.stderr)
        return False


def main(source: str, ledger: str | None = None) -> int:
    """Seal a ledger, or what a packed file has; returns the exit status."""
    if ledger is None:
        paths = sorted(Path(source).glob("*/[0-9a-f]*.json"))
        texts = [(str(path), path.read_bytes()) for path in paths if len(path.stem) == 12]
    else:
        lines = Path(source).read_bytes().splitlines()
        texts = [(f"{source}, line {number}", line) for number, line in enumerate(lines, 1)]
    done = [seal(where, text, Path(ledger or source)) for where, text in texts]
    print(f"{sum(done)} of {len(done)} records have their checksum")
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
