"""S3 and what speaks its protocol.

`store` is the store; it reads and writes by obstore, whose clients `client` opens, each with the
time-outs of one kind of request; `body` waits for a large answer as long as it comes. `listing`
takes over, by botocore, where a bucket holds a key that obstore cannot express; `errors` turns the
errors of both into ours, by what `cause` reads from their structure, and never by quoting or
searching them: an answer may repeat a signed request, and a bucket may be called after an error.

Not promised: one service's reading of the protocol for all. Conditional puts are used where they
exist; where a service answers that it has none, two writers of one new object may both succeed.
"""
