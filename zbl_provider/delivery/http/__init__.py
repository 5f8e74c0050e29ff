"""HTTP/1.1 over TLS, as far as a webhook needs it. It knows connections, and nothing of leads."""
