"""Two examples of each command, which its `--help` ends with."""

_EXAMPLES = {
    "export": (
        "freight export s3://lake/weather s3://plain/weather.zarr --config plain.yaml",
        "freight export block:icechunk-repository/weather /data/weather.zarr --from-ref last",
    ),
    "status": (
        "freight status /data/weather.zarr",
        "freight status s3://plain/weather.zarr --config plain.yaml --json",
    ),
    "verify": (
        "freight verify /data/weather.zarr",
        "freight verify s3://plain/weather.zarr --config plain.yaml --source s3://lake/weather",
    ),
    "prune": (
        "freight prune /data/weather.zarr --dry-run",
        "freight prune s3://plain/weather.zarr --config plain.yaml --keep 3",
    ),
    "register": (
        "freight blocks register blocks.yaml",
        "PREFECT_API_URL=http://127.0.0.1:4200/api freight blocks register blocks.yaml",
    ),
    "demo": ("freight demo", "freight demo /tmp/freight-demo"),
}


def examples(command: str) -> str:
    """Return the examples of a command as its help shows them, unwrapped."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in _EXAMPLES[command])])
