"""Authorization: from a browser's request to a code, and from a code to tokens (decision 0026)."""
