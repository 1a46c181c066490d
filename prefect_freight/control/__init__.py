"""What is recorded at the destination: in `.freight/`, and as a marker at the root.

`runs` has a record of each export and names the last whole one. A run has an area of its own, with
its `manifest` (what the copy holds, written by `manifest_writer` and read by `manifest_reader`;
`version1` reads older ones), its `diff` (what it puts and deletes), its `ledger` (which phases have
begun, and what is done) and the `checksums` of what it put (`part_checksums`). All of that is JSON
that is `sealed` (of old versions `unsealed`, of known `shapes`) and `tables`. `state` reads that of
earlier runs as what lies there now, with `doings` (what unfinished ones planned and recorded);
`clearing` removes what nothing refers to any more, `status` tells people. `data` lists what lies
beside the records, and `marker` vouches for the copy, once all of it is there.

`lock` keeps a second export out: `holder` is its record, `lease` how long it is good for, and
`guarded` the destination that can be written only as long.

Not promised: that two records change together, which no store can do. The order of writes stands in
for it: manifest and diff before the first move, a phase's beginning before its first object, a
batch before its ledger record, the marker at the end.
"""
