"""What the loop asks of the delivery log: enrol, claim, settle, and which runs own what."""
