-- Sends the file $BENCH_BODY as a POST, when given, and prints the figures as one JSON line.
local path = os.getenv("BENCH_BODY")
if path and path ~= "" then
  local file = assert(io.open(path, "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = os.getenv("BENCH_TYPE")
  file:close()
  local name, value = (os.getenv("BENCH_HEADER") or ""):match("^(%S+): (.*)$")
  if name then
    wrk.headers[name] = value
  end
end

function done(summary, latency, _)
  local failed = summary.errors
  local seconds = summary.duration / 1e6
  io.write(string.format(
    'FIGURES {"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p90_ms": %.4f, "p99_ms": %.4f, '
      .. '"max_ms": %.4f, "errors": %d}\n',
    summary.requests, seconds, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
