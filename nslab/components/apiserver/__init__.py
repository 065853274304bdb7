"""The part of the API server: clients put Services and watch them."""
