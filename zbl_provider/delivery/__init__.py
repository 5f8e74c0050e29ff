"""How a lead is sent: one destination, one transport, one reading of its answers, one schedule."""
