"""What all tests share. Fixtures live in the `fixtures_*` modules of `parts`."""

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
