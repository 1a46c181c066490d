"""What a copy is made of, as Zarr 2 or Zarr 3: all that knows Zarr is here and in `hierarchy`.

`layout` divides a snapshot into components and gives their entries, by `documents` (a node as the
format has it) and `chunks` (the entries of its chunks). `documents` uses `codecs`, `dtypes`,
`fill` and `masks`, one for each field that the formats spell differently; `documents2`, `codecs2`
and `masks2` are the way back, of nodes of a Zarr 2 store to Zarr 3;
`filling` bounds and counts the missing chunks that are written out; `consolidated` puts all
documents into one. `ordering` says in which round changes are made, and `withdraw` which arrays
must leave the view meanwhile. `reader` says where a reader looks for objects, `values` compares
what zarr decodes of source and copy.

Not promised: any change of a chunk's bytes, so neither other codecs nor other chunk shapes. What
the format cannot express is refused before anything is written.
"""
