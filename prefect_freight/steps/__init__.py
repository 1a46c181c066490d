"""What an export does: a module a step, and a Prefect task of the same name each.

In their order: `resolve` pins the ref, `take_lock` takes the destination's lock, `open_job` finds
out what lies there and what this export is to it, `write_manifest` writes down what the copy holds,
`compute_diff` what is put and deleted, `move_unit` moves a unit (`carry` knows how the bytes of an
entry come about), `verify_copy` compares (`compare_unchecked` with the source, what has no
checksum), `finish` marks.
`preview` is a dry run of the steps before the first object that moves. For `compute_diff`,
`foreign` finds what is not ours and in the way, and `known_rows` remembers what unfinished exports
have done; `partitions` joins tables that are larger than memory.

Each may run twice with the same result, and what it needs beside its arguments lies at the
destination. Not promised: that they can be called in another order, or without the lock.
`prefect_freight.exporting` is what calls them.
"""
