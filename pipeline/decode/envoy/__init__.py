"""What Envoy says of itself and of requests, in whatever form it says it."""
