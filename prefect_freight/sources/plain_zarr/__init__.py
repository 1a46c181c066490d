"""Zarr stores without any version control: of any source of objects, a source of Zarr nodes.

`source` is the source. It keeps a listing of all objects on the local disk (`listed`), finds in it
the documents and makes nodes of them (`nodes`), notes where consolidated metadata says otherwise
(`consolidated`), and takes chunk references from the keys of each array, in the order of the grid
(`chunk_rows`). The snapshot is that of the objects. Not promised: that a store is not written to
meanwhile; but what has changed is not copied as if it were what was listed.
"""
