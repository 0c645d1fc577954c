"""What every receiver that speaks HTTP has: the listener, the request, the answers, the guard."""
