"""What a Zarr hierarchy looks like from outside: names of documents, keys of chunks, grids.

`document_names` has the names of documents, `named` reads the specification's extension points,
`grid` tells how many chunks an array has, and `chunk_keys` how their keys are spelled and read.
`view` is a store as zarr-python reads one. Sources of plain stores and the formats of copies both
need this, and know nothing of each other. Not promised: any meaning of types, codecs and fill
values, which is the formats' matter.
"""
