"""The delivery log: the outbox that remembers every lead (Contract 6)."""
