"""S3 and what speaks its protocol.

`store` is the store; it reads and writes by obstore, whose clients `client` opens. `listing` takes
over, by botocore, where a bucket holds a key that obstore cannot express; `errors` turns the errors
of both into ours, by status and S3's error code and never by quoting them, since an answer may
repeat a signed request.

Not promised: one service's reading of the protocol for all. Conditional puts are used where they
exist; where a service answers that it has none, two writers of one new object may both succeed.
"""
