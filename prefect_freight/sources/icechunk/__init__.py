"""Icechunk repositories: Icechunk reads the metadata, our stores read the bytes of chunks.

`source` is the source. Where Icechunk offers coroutines only, `event_loop` runs them, in one loop
of one thread; `grid_order` puts references in the order of the grid; `errors` turns Icechunk's
errors into ours without quoting what its storage answered.

Not promised: reading repositories of a store that Icechunk has none for (a local disk and S3 only),
or bytes of virtual chunks, which lie outside of the repository and are refused when they are met.
"""
