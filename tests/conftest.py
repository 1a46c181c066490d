"""What all tests share. Fixtures live in the `fixtures_*` modules beside this file."""

pytest_plugins = ["fixtures_faults", "fixtures_prefect", "fixtures_repositories", "fixtures_s3"]
