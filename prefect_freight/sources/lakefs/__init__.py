"""lakeFS repositories: commits and listings over their REST interface, bytes by the best way.

`lakectl` finds the server and the credentials, also where lakeFS's own users have them; `client`
makes the few requests that are needed; `columns` turns pages of its lists into Arrow; `bodies`
reads what a key or a presigned URL leads to; `errors` says what answers mean in our errors.
`source` is the source; `addresses` are what its manifests keep of an object's place, `ways` how
bytes are read from there; `committed_zarr` is a Zarr store among the objects.

A ref is turned into a commit first, and only a commit's id is listed or read: a plain branch name
would show what is not committed. Not promised: that a commit's data is still there (lakeFS may have
collected it; then `NotFoundError` names the object).
"""
