"""Claims runs, keeps their claims alive and resolves them."""
