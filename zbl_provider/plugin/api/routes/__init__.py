"""What the page may ask for, an address each."""
