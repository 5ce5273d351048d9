"""HTTP/2 for the gRPC door: no request of a browser's is answered here, and nothing is pushed.

`frames` takes bytes apart and puts them together, `headers` reads and writes HPACK, `connection`
is one client's, `control` keeps what its frames say of that, `protocol` reads its requests and is
what the loop is given, `stream` is one request and its answer, `server` is what all share.
"""
