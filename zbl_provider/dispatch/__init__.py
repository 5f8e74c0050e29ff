"""The loop that sends: what is found is enrolled, what is due is claimed, sent and settled."""
