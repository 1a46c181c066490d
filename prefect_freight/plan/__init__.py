"""What is to be done, worked out from records and tables. Pure: nothing here reads or writes.

`entries` makes the rows of what a copy holds, `keys` refuses those that could leave its root.
`sections` cuts them into what is compared and remembered as one, `join` compares wanted rows with
recorded ones, `touched` tells what unfinished runs made of a key, `differences` counts what a
verification found; `phases` orders entries within a round, and `batches` cuts them into the units
that are moved, recorded and retried. `selection` chooses what is exported of a snapshot, by name.
`report` adds up what came of it, and `numbers` writes numbers for people.

Not promised: memory that is bounded by anything but the caller, who feeds tables part by part.
Nothing here knows a format or a store.
"""
