"""A process that exports to S3 with requests that may be held up, and gives them up after a while.

Arguments: runner, source, destination, ref, YAML of the destination, seconds of the lease, between
renewals, between looks, and until a request without an answer is given up.
"""

import json
import os
import sys

if __name__ == "__main__":
    from engine import run_engine

    from prefect_freight.config import read_config
    from prefect_freight.control.lease import Lease
    from prefect_freight.errors import FreightError
    from prefect_freight.stores.s3.store import S3Store

    runner, source, destination, ref, yaml, *seconds = sys.argv[1:]
    *lease, idle_s = map(float, seconds)
    bucket, _, prefix = destination.removeprefix("s3://").partition("/")
    store = S3Store(bucket, prefix, read_config(yaml), idle_s=int(idle_s))
    result = {"error": "", "cause": ""}
    try:
        run_engine(runner, source, store, ref=ref, lease=Lease(*lease))
    except FreightError as error:
        result = {"error": type(error).__name__, "cause": type(error.__cause__).__name__}
    print(json.dumps(result), flush=True)
    os._exit(0)
