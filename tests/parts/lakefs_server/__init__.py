"""A small lakeFS for tests, over real HTTP, known to answer as a real 1.84 did.

`server.Lake` is the one that runs; `repository` is what it holds (branches, commits, staged
changes), made by a test or loaded from a recording (`recording`, `replay`); `blockstore` is where
the bytes lie, in memory or in a real bucket. `rest`, `gateway` and `presigned` are the three doors,
`signing` what those of S3's kind verify, `pages` the one way of listing, `faults` what can go wrong
on purpose, `messages` what goes in and out of a door.

`writes` is what is filled over HTTP, by `remote`, which fills a real server too: so one suite runs
on both.

Not `lakefs`: that is the name of lakeFS's own Python package, which reads from it too. Left out:
who may do what (there is one user, who may do all), garbage collection, actions.
"""
