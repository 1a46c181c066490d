"""`python -m prefect_freight` is `freight`."""

from prefect_freight.cli import main

main()
