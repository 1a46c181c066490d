"""What all tests share. Fixtures live in the `fixtures_*` modules of `parts`."""

import sys
from pathlib import Path

pytest_plugins = [
    "fixtures_faults",
    "fixtures_bulk",  # which imports the one before it
    "fixtures_lakefs",
    "fixtures_prefect",
    "fixtures_repositories",
    "fixtures_runners",
    "fixtures_s3",
]
collect_ignore = ["parts"]
# Behind all others: other integrations of Prefect's are taken from there where none is installed.
sys.path.append(str(Path(__file__).parent / "parts" / "packages"))
