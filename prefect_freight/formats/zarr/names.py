"""What the components of a Zarr copy are called, beside arrays, which are called by their paths."""

METADATA = "//metadata"
"""All documents; no path of a node has an empty segment."""
