"""What is recorded at the destination: in `.freight/`, and as a marker at the root.

`runs` has a record of each export and names the last whole one. A run has an area of its own, with
its `manifest` (what the copy holds, written by `manifest_writer`; `version1` reads older ones), its
`diff` (what it puts and deletes), its `ledger` (what is done) and the `checksums` of what it put.
`state` reads those of earlier runs as what lies there now, `clearing` removes what nothing refers
to any more, `status` tells people. `lock`, with `holder`, keeps a second export out; `marker` comes
last.

Not promised: that two records change together, which no store can do. The order of writes stands in
for it: a manifest before its first move, a batch before its ledger record, the marker at the end.
"""
