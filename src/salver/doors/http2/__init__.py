"""HTTP/2 for the gRPC door: no request of a browser's is answered here, and nothing is pushed.

`frames` takes bytes apart and puts them together, `headers` reads and writes HPACK, `connection`
is what the loop is given for each client, `intake` obeys the client's frames, `stream` is one
request and its answer, `server` is what all connections share.
"""
